// Preloaded into Node programs of a stack with `redirects:` (NODE_OPTIONS=--require). Connects to this worktree's port where
// the repository's code asks for a fixed loopback port.
//
// DEVRUN_REDIRECTS=8000:8123,9000:9123 lists the ports. Connections to other hosts and over unix sockets are not changed.
'use strict';

(() => {
  const pairs = (process.env.DEVRUN_REDIRECTS || '').split(',').map((pair) => pair.split(':').map(Number));
  const table = new Map(pairs.filter(([from, to]) => from > 0 && to > 0));
  if (table.size === 0) return;
  const LOOPBACK = [undefined, null, '', 'localhost', '127.0.0.1', '::1', '[::1]', '0.0.0.0'];

  // Returns the options with the worktree's port, or the same object if they name another target.
  function redirected(options) {
    if (options === null || typeof options !== 'object' || options.path) return options;
    const port = table.get(Number(options.port));
    // The server listens on 127.0.0.1, so a connection to `::1` would fail.
    return port && LOOPBACK.includes(options.host) ? { ...options, port, host: '127.0.0.1' } : options;
  }

  const { Socket } = require('net');
  const connect = Socket.prototype.connect;
  Socket.prototype.connect = function (...args) {
    const [first, second] = args;
    if (Array.isArray(first)) {
      // net.connect() passes its normalised arguments, an array with a symbol property that must be kept.
      first[0] = redirected(first[0]);
    } else if (first !== null && typeof first === 'object') {
      args[0] = redirected(first);
    } else if (table.has(Number(first))) {
      // connect(port, host?, listener?)
      const host = typeof second === 'string' ? second : undefined;
      const listener = args.filter((arg) => typeof arg === 'function').slice(-1);
      return connect.call(this, redirected({ port: Number(first), host }), ...listener);
    }
    return connect.apply(this, args);
  };
})();
