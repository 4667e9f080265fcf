"""A container engine for tests: `engine.py serve FOLDER` is the engine, and a copy of this file called `docker` is its client.

The client parses the arguments by the grammar of the real client (docker 28), and refuses what the real client refuses, before it
connects to the engine at $DOCKER_HOST. The engine runs a real Postgres of this machine for each container, and programs of `exec` on
this machine.
FOLDER/calls has one line of JSON for each call: the arguments.
"""

import json, os, pathlib, pwd, re, shutil, signal, socket, subprocess, sys, threading, time

IMAGES = ["postgres:16-alpine", "postgres:17-alpine"]
PULLABLE = ["postgres:15-alpine"]
BINARIES = os.environ.get("ENGINE_POSTGRES", "")

# For each verb that a database provider needs: its usage, the least and the most words, whether options may follow words, the options
# that take a value, and those that do not, with their short names, as `docker VERB --help` of docker 28.2.2 lists them. `run` and `exec`
# end their options at the first word that is not an option.
GRAMMAR = {
    "run": ("IMAGE [COMMAND] [ARG...]", 1, None, False,
            ["name", "label l", "env e", "env-file", "volume v", "publish p", "pull", "shm-size", "network", "restart", "hostname h",
             "user u", "workdir w", "mount", "entrypoint", "health-cmd", "platform", "memory m", "cpus", "label-file", "stop-timeout"],
            ["detach d", "rm", "interactive i", "tty t", "quiet q", "init", "read-only", "privileged", "publish-all P"]),
    "ps": ("", 0, 0, True, ["filter f", "format", "last n"], ["all a", "latest l", "no-trunc", "quiet q", "size s"]),
    "inspect": ("NAME|ID [NAME|ID...]", 1, None, True, ["format f", "type"], ["size s"]),
    "image inspect": ("IMAGE [IMAGE...]", 1, None, True, ["format f", "platform"], []),
    "pull": ("NAME[:TAG|@DIGEST]", 1, 1, True, ["platform"], ["all-tags a", "disable-content-trust", "quiet q"]),
    "start": ("CONTAINER [CONTAINER...]", 1, None, True, ["checkpoint", "checkpoint-dir", "detach-keys"], ["attach a", "interactive i"]),
    "stop": ("CONTAINER [CONTAINER...]", 1, None, True, ["signal s", "timeout t"], []),
    "rm": ("CONTAINER [CONTAINER...]", 1, None, True, [], ["force f", "link l", "volumes v"]),
    "volume rm": ("VOLUME [VOLUME...]", 1, None, True, [], ["force f"]),
    "exec": ("CONTAINER COMMAND [ARG...]", 2, None, False, ["detach-keys", "env e", "env-file", "user u", "workdir w"],
             ["detach d", "interactive i", "privileged", "tty t"]),
    "logs": ("CONTAINER", 1, 1, True, ["since", "tail n", "until"], ["details", "follow f", "timestamps t"]),
    "version": ("", 0, 0, True, ["format f"], []),
}


def fail(text, status=1):
    print(text, file=sys.stderr)
    sys.exit(status)


def parse(args):
    """Returns the verb, its options and its words. Ends like the real client if the arguments are wrong."""
    verb = args[0] if args else ""
    if verb in ("image", "volume") and len(args) > 1:
        verb = " ".join(args[:2])
    if verb not in GRAMMAR:
        fail(f"docker: unknown command: docker {verb}\n\nRun 'docker --help' for more information")
    usage, least, most, mixed, valued, flags = GRAMMAR[verb]
    valued = {name: entry.split()[0] for entry in valued for name in entry.split()}
    flags = {name: entry.split()[0] for entry in flags for name in entry.split()}
    status = 125 if verb == "run" else 1
    wrong = lambda text: fail(f"{text}\n\nUsage:  docker {verb} [OPTIONS] {usage}\n\nRun 'docker {verb} --help' for more information", status)
    options, words, rest = {}, [], list(args[len(verb.split()):])
    while rest:
        word = rest.pop(0)
        if word == "--":
            words += rest
            break
        if not word.startswith("-") or word == "-":
            words.append(word)
            if not mixed:
                words += rest
                break
            continue
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            known = name if len(name) > 1 else ""
        else:
            name, equals, value = word[1], "=" if len(word) > 2 else "", word[2:].removeprefix("=")
            known = name
            if name in flags and equals:
                rest.insert(0, "-" + value)
                equals = ""
        if known in valued:
            if not equals:
                if not rest:
                    wrong(f"flag needs an argument: {word}")
                value = rest.pop(0)
            options.setdefault(valued[known], []).append(value)
        elif known in flags:
            options[flags[known]] = [value or "true"]
        else:
            wrong(f"unknown flag: {word}" if word.startswith("--") else f"unknown shorthand flag: '{name}' in {word}")
    if len(words) < least:
        wrong(f"'docker {verb}' requires at least {least} argument{'s' if least > 1 else ''}")
    if most is not None and len(words) > most:
        wrong(f"'docker {verb}' accepts {'no arguments' if most == 0 else f'at most {most} argument'}")
    for pair in options.get("publish", []):
        if not re.fullmatch(r"((\d+\.){3}\d+:)?(\d*:)?\d+(/tcp)?", pair):
            wrong(f"invalid containerPort: {pair}")
    if "name" in options and not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", options["name"][0]):
        fail(f"docker: Error response from daemon: Invalid container name ({options['name'][0]})", 125)
    if verb == "run" and not re.fullmatch(r"[a-z0-9][a-z0-9._/:@-]*", words[0]):
        fail("docker: invalid reference format", 125)
    return verb, options, words


def client(args):
    verb, options, words = parse(args)
    env = {}
    for path in options.get("env-file", []):
        try:
            lines = pathlib.Path(path).read_text().splitlines()
        except OSError as error:
            fail(f"docker: open {path}: {error.strerror.lower()}", 125)
        env |= dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    host = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
    try:
        engine = socket.socket(socket.AF_UNIX)
        engine.connect(host.removeprefix("unix://"))
    except PermissionError:
        fail(f"permission denied while trying to connect to the Docker daemon socket at {host}: connect: permission denied")
    except OSError:
        fail(f"Cannot connect to the Docker daemon at {host}. Is the docker daemon running?")
    call = {"args": args, "verb": verb, "options": options, "words": words, "env": env}
    socket.send_fds(engine, [json.dumps(call).encode() + b"\n"], [0, 1, 2])
    answer = engine.makefile("r").readline()
    sys.exit(int(answer) if answer.strip() else 1)


class Fault(Exception):
    """An error message of the engine, and the exit status of the client."""

    def __init__(self, text, status=1):
        super().__init__(text)
        self.status = status


class Engine:
    def __init__(self, folder):
        self.folder, self.containers, self.images = folder, {}, list(IMAGES)
        self.lock = threading.RLock()
        self.as_user = {}
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self.as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        for name in ("volumes", "sockets"):
            (folder / name).mkdir(exist_ok=True)
            if self.as_user:
                os.chown(folder / name, self.as_user["user"], self.as_user["group"])

    def of(self, name):
        if name not in self.containers:
            raise Fault(f"Error response from daemon: No such container: {name}")
        return self.containers[name]

    def is_running(self, one):
        return one["process"] is not None and one["process"].poll() is None

    def tool(self, name, *args, **more):
        return subprocess.run([f"{BINARIES}/{name}", *args], cwd="/", capture_output=True, text=True, check=True, **self.as_user, **more)

    def boot(self, one):
        """Does what the image does: makes the cluster in the volume, unless there is one, and starts Postgres."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((one["address"], one["port"]))
            except OSError:
                raise Fault("Error response from daemon: driver failed programming external connectivity on endpoint "
                            f"{one['name']}: Bind for {one['address']}:{one['port']} failed: port is already allocated")
        env, volume = one["env"], self.folder / "volumes" / one["volume"]
        data = volume / "data"
        if "POSTGRES_PASSWORD" not in env or env.get("PGDATA") != one["target"] + "/data":
            one["log"] = "Error: Database is uninitialized and superuser password is not specified."
            return
        if not data.exists():
            volume.mkdir(exist_ok=True)
            if self.as_user:
                os.chown(volume, self.as_user["user"], self.as_user["group"])
            password = volume / "password"
            password.write_text(env["POSTGRES_PASSWORD"])
            password.chmod(0o644)
            self.tool("initdb", "-D", str(data), "-U", env["POSTGRES_USER"], "--auth-local=trust", *env.get("POSTGRES_INITDB_ARGS", "").split(),
                      f"--pwfile={password}", "-E", "UTF8", "--locale=C", "--no-sync")
            password.unlink()
        sockets = self.folder / "sockets"
        log = open(volume / "log", "ab")
        one["process"] = subprocess.Popen(
            [f"{BINARIES}/postgres", "-D", str(data), "-p", str(one["port"]), "-c", f"listen_addresses={one['address']}",
             "-c", f"unix_socket_directories={sockets}", "-c", "fsync=off"],
            cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, **self.as_user)

    def halt(self, one):
        if self.is_running(one):
            one["process"].send_signal(signal.SIGQUIT)
            one["process"].wait()

    def run(self, options, words, env, out, **_):
        name = options["name"][0]
        if name in self.containers:
            raise Fault(f'docker: Error response from daemon: Conflict. The container name "/{name}" is already in use by container "x".', 125)
        if words[0] not in self.images:
            raise Fault(f"docker: Error response from daemon: manifest for {words[0]} not found", 125)
        address, port, _ = options["publish"][0].split(":")
        volume, target = options["volume"][0].split(":")
        labels = dict(label.split("=", 1) for label in options.get("label", []))
        self.containers[name] = one = {"name": name, "image": words[0], "labels": labels, "env": env, "address": address, "port": int(port),
                                       "volume": volume, "target": target, "process": None, "log": ""}
        try:
            self.boot(one)
        except Fault as fault:
            raise Fault(f"docker: {fault}", 125)
        out.write("0" * 64 + "\n")

    def ps(self, options, out, **_):
        if options.get("format") != ["{{.Names}}"]:
            raise Fault("template: not known to this engine")
        filters = [text.split("=", 1) for text in options.get("filter", [])]
        for one in self.containers.values():
            wanted = all(kind == "label" and "=".join(value.split("=", 1)) in [f"{k}={v}" for k, v in one["labels"].items()]
                         for kind, value in filters)
            if wanted and ("all" in options or self.is_running(one)):
                out.write(one["name"] + "\n")

    def inspect(self, words, out, **_):
        found = []
        for name in words:
            one = self.of(name)
            running = self.is_running(one)
            found.append({"Name": f"/{name}", "State": {"Status": "running" if running else "exited", "Running": running, "Paused": False},
                          "Config": {"Image": one["image"], "Labels": one["labels"]}})
        out.write(json.dumps(found) + "\n")

    def image_inspect(self, words, out, **_):
        if words[0] not in self.images:
            raise Fault(f"Error response from daemon: No such image: {words[0]}")
        out.write("sha256:0\n")

    def pull(self, words, out, **_):
        if words[0] not in PULLABLE:
            raise Fault(f"Error response from daemon: manifest for {words[0]} not found: manifest unknown")
        self.images.append(words[0])
        out.write(words[0] + "\n")

    def start(self, words, out, **_):
        one = self.of(words[0])
        if not self.is_running(one):
            self.boot(one)
        out.write(words[0] + "\n")

    def stop(self, words, out, **_):
        self.halt(self.of(words[0]))
        out.write(words[0] + "\n")

    def rm(self, options, words, out, **_):
        one = self.of(words[0])
        if self.is_running(one) and "force" not in options:
            raise Fault(f"Error response from daemon: cannot remove container {words[0]}: container is running")
        self.halt(one)
        del self.containers[words[0]]
        out.write(words[0] + "\n")

    def volume_rm(self, options, words, out, **_):
        if any(one["volume"] == words[0] for one in self.containers.values()):
            raise Fault(f"Error response from daemon: remove {words[0]}: volume is in use")
        volume = self.folder / "volumes" / words[0]
        if not volume.exists() and "force" not in options:
            raise Fault(f"Error response from daemon: get {words[0]}: no such volume")
        shutil.rmtree(volume, ignore_errors=True)
        out.write(words[0] + "\n")

    def logs(self, words, err, **_):
        one = self.of(words[0])
        log = self.folder / "volumes" / one["volume"] / "log"
        err.write(one["log"] + (log.read_text(errors="replace") if log.exists() else ""))

    def version(self, out, **_):
        out.write("28.2.2\n")

    def exec(self, words, fds, **_):
        one = self.of(words[0])
        if not self.is_running(one):
            raise Fault(f"Error response from daemon: container {words[0]} is not running")
        env = {"PGHOST": str(self.folder / "sockets"), "PGPORT": str(one["port"]), "PATH": BINARIES + ":/usr/bin:/bin"}
        return subprocess.run(words[1:], cwd="/", env=env, stdin=fds[0], stdout=fds[1], stderr=fds[2], **self.as_user).returncode

    def serve(self, connection):
        data, fds, _, _ = socket.recv_fds(connection, 1 << 20, 3)
        call = json.loads(data)
        with self.lock, open(self.folder / "calls", "a") as calls:
            calls.write(json.dumps(call["args"]) + "\n")
        status = 0
        with open(fds[1], "w", closefd=False) as out, open(fds[2], "w", closefd=False) as err:
            try:
                do = getattr(self, call["verb"].replace(" ", "_"))
                more = {"options": call["options"], "words": call["words"], "env": call["env"], "out": out, "err": err, "fds": fds}
                if call["verb"] == "exec":
                    status = do(**more)
                else:
                    with self.lock:
                        status = do(**more) or 0
            except Fault as fault:
                err.write(f"{fault}\n")
                status = fault.status
            except subprocess.CalledProcessError as error:
                err.write(f"{error} {error.stderr}\n")
                status = 1
        for fd in fds:
            os.close(fd)
        connection.sendall(f"{status}\n".encode())
        connection.close()


def serve(folder):
    engine = Engine(folder)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "docker.sock"))
    listener.listen(64)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("serving", flush=True)
    try:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=engine.serve, args=(connection,), daemon=True).start()
    finally:
        for one in engine.containers.values():
            engine.halt(one)


if sys.argv[1:2] == ["serve"] and pathlib.Path(sys.argv[0]).name == "engine.py":
    serve(pathlib.Path(sys.argv[2]))
else:
    client(sys.argv[1:])
