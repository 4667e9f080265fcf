//! A real Chromium that opens a page and records every request of the page.

use std::path::PathBuf;

use nix::unistd::geteuid;
use regex::Regex;

use super::product::{PATIENCE, Product, Stack, find};
use super::{Ended, Running};

/// Chromium in the world of a product.
pub(crate) struct Browser<'a> {
    product: &'a Product,
    program: PathBuf,
}

/// A visit under way.
pub(crate) struct Window {
    running: Running,
    requests: PathBuf,
    own: Vec<u16>,
}

impl Browser<'_> {
    /// Returns the Chromium of this machine. Without one, reports that the browser is skipped.
    pub(crate) fn find(product: &Product) -> Option<Browser<'_>> {
        let names = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
        let program = names.iter().find_map(|name| find(name));
        if program.is_none() {
            crate::asking::skip_without(&["chromium"]);
        }
        program.map(|program| Browser { product, program })
    }

    /// Opens `url`, which belongs to `stack`, with `more` arguments. `name` names the profile and the record of the requests.
    pub(crate) fn visit(&self, name: &str, stack: &Stack, url: &str, more: &[&str]) -> Window {
        let folder = self.product.path().join(format!("chromium-{name}"));
        let requests = self.product.path().join(format!("chromium-{name}.json"));
        let (profile, log) = (
            format!("--user-data-dir={}", folder.display()),
            format!("--log-net-log={}", requests.display()),
        );
        let mut args = vec![
            "--headless",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            &profile,
            &log,
        ];
        // Chromium has no sandbox for root.
        args.extend(geteuid().is_root().then_some("--no-sandbox"));
        args.extend(more);
        args.push(url);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let running = self.product.program(&self.program, &args).env("PATH", path).start().patient(PATIENCE);
        Window { running, requests, own: vec![stack.port("Frontend"), stack.port("Backend")] }
    }
}

impl Window {
    /// Waits until Chromium has ended. Panics if it sent no request to this machine, or one to a port that is neither the frontend's
    /// nor the backend's.
    #[track_caller]
    pub(crate) fn wait(self) -> Ended {
        let ended = self.running.wait();
        let log = std::fs::read_to_string(&self.requests).unwrap_or_default();
        let address =
            Regex::new(r#""url":"(\w+://(?:[a-z0-9-]+\.)*(?:localhost|127\.0\.0\.1|\[::1\]):(\d+)[^"]*)"#);
        let asked: Vec<(String, u16)> = address
            .unwrap()
            .captures_iter(&log)
            .map(|found| (found[1].to_string(), found[2].parse().unwrap()))
            .collect();
        assert!(!asked.is_empty(), "Chromium wrote no requests down: {ended}");
        let strange: Vec<_> = asked.iter().filter(|(_, port)| !self.own.contains(port)).collect();
        assert!(strange.is_empty(), "requests to ports beside {:?}: {strange:?}", self.own);
        ended
    }
}
