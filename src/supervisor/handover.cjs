// Preloaded into Node programs of a process with `listen:` (NODE_OPTIONS=--require). Makes a server on the process's port
// use the socket that devrun holds open instead of binding the port itself, so that no client is refused while the server
// restarts.
//
// DEVRUN_LISTEN=descriptor:port:inode names the socket. The inode is checked, because a program in between may have closed
// the descriptor and reused its number. If the inode differs, this module changes nothing.
'use strict';

const NAME = 'DEVRUN_LISTEN';
const [fd, port, inode] = (process.env[NAME] || '').split(':').map(Number);
// Hosts for which a server gets the socket. A server on `::1` or on another address binds its port itself.
const HOSTS = [undefined, null, '', 'localhost', '127.0.0.1', '0.0.0.0', '::'];
let taken = false;

function isOurs() {
  try {
    const found = require('fs').fstatSync(fd);
    return found.isSocket() && found.ino === inode;
  } catch {
    return false;
  }
}

// Some servers first listen without a connection handler, to check that the port is free. This listens on another port and
// reports the wanted one, so that the check succeeds.
function probe(server, listen, callback) {
  server.address = () => ({ address: '127.0.0.1', family: 'IPv4', port });
  listen.call(server, { port: 0, host: '127.0.0.1' }, ...callback);
}

function takeOver() {
  const { Server } = require('net');
  const listen = Server.prototype.listen;
  Server.prototype.listen = function (...args) {
    const [first, second] = args;
    const asked = first !== null && typeof first === 'object' ? first : { port: first, host: second };
    const host = typeof asked.host === 'string' ? asked.host : undefined;
    const named = asked.path !== undefined || asked.fd !== undefined || asked._handle !== undefined;
    if (taken || named || Number(asked.port) !== port || !HOSTS.includes(host)) {
      return listen.apply(this, args);
    }
    const callback = args.filter((arg) => typeof arg === 'function').slice(-1);
    const take = () => {
      taken = true;
      listen.call(this, { fd, backlog: 1024 }, ...callback);
    };
    if (this.listenerCount('connection') > 0) take();
    else process.nextTick(() => (this.listenerCount('connection') > 0 ? take() : probe(this, listen, callback)));
    return this;
  };
}

// Passes the socket on to child processes, because the server may be a child or grandchild. Node itself closes descriptors
// that it did not open when it starts a program.
function passOn() {
  const { ChildProcess } = require('child_process');
  const spawn = ChildProcess.prototype.spawn;
  ChildProcess.prototype.spawn = function (options) {
    const pairs = options && Array.isArray(options.envPairs) ? options.envPairs : [];
    const at = pairs.findIndex((pair) => pair.startsWith(`${NAME}=`));
    if (at < 0) return spawn.call(this, options);
    const envPairs = [...pairs];
    if (taken) {
      envPairs.splice(at, 1);
      return spawn.call(this, { ...options, envPairs });
    }
    const given = options.stdio ?? 'pipe';
    const stdio = Array.isArray(given) ? [...given] : [given, given, given];
    while (stdio.length < 3) stdio.push('pipe');
    envPairs[at] = `${NAME}=${stdio.length}:${port}:${inode}`;
    return spawn.call(this, { ...options, envPairs, stdio: [...stdio, fd] });
  };
}

if (fd > 2 && port > 0 && isOurs()) {
  takeOver();
  passOn();
}
