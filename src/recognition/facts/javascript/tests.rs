//! JavaScript and TypeScript sources, and their facts.

use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::recognition::facts::{ReadConstruct, VariableRead};

fn facts(file: &str, source: &str) -> FileFacts {
    read(Path::new(file), source)
}

/// Returns `NAME` with `!` if required, `=default`, and `[]` for a list.
fn shown(read: &VariableRead) -> String {
    let required = if read.required { "!" } else { "" };
    let list = if read.list { "[]" } else { "" };
    let default = read.default.as_ref().map(|default| format!("={default}")).unwrap_or_default();
    format!("{}{required}{list}{default}", read.name)
}

fn variables(file: &str, source: &str) -> Vec<String> {
    facts(file, source).reads.iter().map(shown).collect()
}

#[test]
fn every_way_to_read_the_environment_is_found() {
    for (source, expected) in [
        ("const x = process.env.A\n", vec!["A"]),
        ("const x = process.env[\"A\"]\n", vec!["A"]),
        ("const x = process.env.A!\n", vec!["A!"]),
        ("const x = process.env.A ?? 'b'\n", vec!["A=b"]),
        ("const x = process.env.A || `b`\n", vec!["A=b"]),
        ("const x = process.env.A || process.env.B || 'c'\n", vec!["A=c", "B=c"]),
        ("const x = Number(process.env.A ?? 3000)\n", vec!["A=3000"]),
        ("const x = process.env.A ? process.env.A : 'b'\n", vec!["A=b", "A=b"]),
        ("const x = (process.env.A as string).split(',')\n", vec!["A[]"]),
        ("const x = process.env.A?.split(',')\n", vec!["A[]"]),
        ("const { A, B: b, C = 'c', D: d = 'd' } = process.env\n", vec!["A", "B", "C=c", "D=d"]),
        ("const env = process.env\nconst x = env.A\n", vec!["A"]),
        ("import { env } from 'node:process'\nconst x = env.A\n", vec!["A"]),
        ("if (!process.env.A) throw new Error('A')\n", vec!["A!"]),
        ("if (!process.env.A || process.env.B === undefined) { throw 1 }\n", vec!["A!", "B!"]),
        ("if (!(process.env.A && process.env.B)) { throw 1 }\n", vec!["A!", "B!"]),
        ("if (process.env.A && !(process.env.B && process.env.C)) { throw 1 }\n", vec!["A", "B", "C"]),
        ("if (process.env.A !== undefined && !process.env.B) { throw 1 }\n", vec!["A", "B"]),
        ("if (process.env.NODE_ENV === 'production' && !process.env.A) { throw 1 }\n", vec!["A"]),
        ("import { A } from '$env/static/private'\n", vec!["A!"]),
        ("import { env } from '$env/dynamic/private'\nconst x = env.A\n", vec!["A"]),
        ("const x = process.env.NODE_ENV\nprocess.env.A = 'b'\n", vec![]),
        ("// process.env.A\nconst y = '\\process.env.A'\n", vec![]),
    ] {
        assert_eq!(variables("src/a.ts", source), expected, "{source}");
    }
    let vite = facts(
        "src/api.ts",
        "const url = import.meta.env.VITE_API_URL || 'http://localhost:8000'\nconst m = import.meta.env.MODE\n",
    );
    assert_eq!(vite.reads.iter().map(shown).collect::<Vec<_>>(), ["VITE_API_URL=http://localhost:8000"]);
    assert_eq!((vite.reads[0].by, vite.addresses.len()), (ReadConstruct::ImportMeta, 0));
    assert_eq!(variables("app/page.tsx", "export default () => <a href={process.env.A}>x</a>\n"), ["A"]);
}

#[test]
fn schemas_state_required_fields_and_lengths() {
    let source = "import { createEnv } from '@t3-oss/env-nextjs'\nexport const env = createEnv({\n  server: {\n    DATABASE_URL: z.string().url(),\n    AUTH_SECRET: z.string().min(32).optional(),\n    PORT: z.coerce.number().default(3000),\n  },\n  client: { NEXT_PUBLIC_API_URL: z.string().default('http://localhost:8000') },\n  runtimeEnv: { DATABASE_URL: process.env.DATABASE_URL },\n})\n";
    let found = facts("src/env/server.ts", source);
    let names: Vec<String> = found.reads.iter().map(shown).collect();
    assert_eq!(
        names,
        [
            "DATABASE_URL",
            "DATABASE_URL!",
            "AUTH_SECRET",
            "PORT=3000",
            "NEXT_PUBLIC_API_URL=http://localhost:8000"
        ]
    );
    assert_eq!((found.reads[2].min_length, found.reads[1].at.line), (Some(32), 4));
    assert!(found.addresses.is_empty());

    let plain = "const schema = z.object({ A: z.string(), b: z.string() })\nschema.parse(process.env)\n";
    assert_eq!(variables("env.ts", plain), ["A!"]);
    let envalid = "const env = cleanEnv(process.env, { A: str(), B: port({ default: 3000 }) })\n";
    assert_eq!(variables("env.ts", envalid), ["A!", "B=3000"]);
    let nuxt = "export default defineNuxtConfig({ runtimeConfig: { apiKey: '', public: { apiBase: 'http://localhost:8000' } } })\n";
    assert_eq!(
        variables("nuxt.config.ts", nuxt),
        ["NUXT_API_KEY=", "NUXT_PUBLIC_API_BASE=http://localhost:8000"]
    );
}

#[test]
fn fixed_addresses_have_the_runtime_of_their_code() {
    let source = "const u = 'http://127.0.0.1:8000/:path*'\n";
    let server = |file: &str, head: &str| {
        let found = facts(file, &format!("{head}{source}")).addresses;
        found.first().map(|address| (address.port, address.server))
    };
    for (file, head, expected) in [
        ("next.config.js", "", Some(true)),
        ("vite.config.ts", "", Some(true)),
        ("web/src/app/api/x/route.ts", "", Some(true)),
        ("lib/actions.ts", "'use server'\n", Some(true)),
        ("components/a.tsx", "'use client'\n", Some(false)),
        ("components/a.tsx", "useEffect(() => {})\n", Some(false)),
        ("lib/api.ts", "", None),
        ("lib/api.ts", "import 'server-only'\n", Some(true)),
    ] {
        assert_eq!(server(file, head), Some((8000, expected)), "{file} {head}");
    }
}

#[test]
fn addresses_are_left_out_where_a_variable_or_a_person_reads_them() {
    let ports = |source: &str| -> Vec<u16> {
        facts("a.ts", source).addresses.iter().map(|address| address.port).collect()
    };
    assert_eq!(ports("fetch(`http://localhost:8000/items/${id}`)\n"), [8000]);
    assert_eq!(ports("new WebSocket('ws://localhost:8000/ws')\n"), [8000]);
    assert_eq!(ports("const a = process.env.A ?? 'http://localhost:8000'\n"), Vec::<u16>::new());
    assert_eq!(ports("console.log('http://localhost:8000')\n"), Vec::<u16>::new());
    assert_eq!(ports("// http://localhost:8000\n"), Vec::<u16>::new());
    let origin = facts("a.ts", "app.use(cors({ origin: ['http://localhost:3000'] }))\n").addresses;
    assert!(origin[0].origin);
    assert_eq!(facts("e2e/a.ts", "fetch('http://localhost:8000')\n"), FileFacts::default());
    assert_eq!(facts("a.test.ts", "fetch('http://localhost:8000')\n"), FileFacts::default());
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in "(?s).{0,400}") {
        for file in ["a.ts", "a.jsx", "nuxt.config.ts"] {
            let _ = facts(file, &format!("process.env.A {text}"));
        }
    }

    #[test]
    fn no_mixture_of_code_makes_the_reader_panic(
        words in proptest::collection::vec(
            prop::sample::select(vec![
                "const", "{", "}", "A", "=", "process.env", ".", "[", "]", "'A'", "??", "||", "!", "(", ")", "createEnv", ":",
                "z.object", "z.string()", ".default(", "import", "from", "\n", ",", "`${", "`", "if", "throw", "<a>", "as",
                "runtimeConfig", "'http://localhost:1'", "?",
            ]),
            0..60,
        )
    ) {
        let source = words.join(" ");
        for file in ["a.ts", "a.tsx", "nuxt.config.ts"] {
            let _ = facts(file, &format!("process.env.A\n{source}"));
        }
    }
}

#[test]
fn deeply_nested_code_is_read_without_exhausting_the_stack() {
    for (open, close) in [("(", ")"), ("f(", ")"), ("[", "]"), ("!", ""), ("{a:", "}")] {
        let source = format!("x = {}process.env.A{}\n", open.repeat(20_000), close.repeat(20_000));
        let _ = facts("a.ts", &source);
    }
}
