"""The processes of a run: one redis-server over TLS, an identity endpoint, the agent and its peers.

Everything listens on loopback and uses one folder, which is removed at the end.
"""

import base64
import collections
import contextlib
import hashlib
import http.client
import json
import pathlib
import re
import secrets
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from process import Process

HERE = pathlib.Path(__file__).resolve().parent
OBJECT_ID = "5b1d6f7c-8c0e-4b8e-9d63-2f1a7c9e4d10"
DEBIAN_PACKAGES = ["prometheus-redis-exporter", "prometheus-blackbox-exporter"]
PYTHON_PACKAGES = ["redis", "azure-identity"]


class Tools:
    """The programs of a run. Missing peers are installed below `folder`."""

    def __init__(self, agent, bare, folder):
        self.agent = agent
        self.bare = bare
        self.folder = folder
        self.venv = folder / "venv"

    def install(self):
        """Installs the peers. A peer that cannot be installed is reported and left out."""
        for what, install in [("exporters", self._exporters), ("quickstart", self._quickstart)]:
            try:
                install()
            except (OSError, subprocess.SubprocessError) as error:
                print(f"no {what}: {error}", file=sys.stderr)

    def exporter(self, package):
        path = self.folder / "debian/usr/bin" / package
        if not path.exists():
            raise RuntimeError(f"{package} is not installed")
        return path

    @property
    def python(self):
        path = self.venv / "bin/python"
        if not path.exists():
            raise RuntimeError("the virtual environment is not installed")
        return path

    def _exporters(self):
        root = self.folder / "debian"
        if all((root / "usr/bin" / package).exists() for package in DEBIAN_PACKAGES):
            return
        downloads = self.folder / "packages"
        downloads.mkdir(parents=True, exist_ok=True)
        # Unpacked, not installed, because the packages would start services.
        download = ["apt-get", "download", "-q", *DEBIAN_PACKAGES]
        try:
            run(download, cwd=downloads)
        except subprocess.CalledProcessError:
            # A new container image has no package lists.
            run(["apt-get", "update", "-q"])
            run(download, cwd=downloads)
        for package in downloads.glob("*.deb"):
            run(["dpkg-deb", "--extract", package, root])

    def _quickstart(self):
        if (self.venv / "installed").exists():
            return
        run([sys.executable, "-m", "venv", self.venv])
        run([self.venv / "bin/pip", "install", "--quiet", "--disable-pip-version-check", *PYTHON_PACKAGES])
        (self.venv / "installed").touch()

    def versions(self):
        """Returns the version of every program."""
        asked = {
            "redis-server": ["redis-server", "--version"],
            "rustc": ["rustc", "--version"],
            "Python packages": [self.venv / "bin/pip", "list", "--format=freeze", "--disable-pip-version-check"],
        }
        versions = {name: output(args) for name, args in asked.items()}
        listed = versions["Python packages"].splitlines()
        versions["Python packages"] = ", ".join(
            line for line in listed if line.split("==")[0] in PYTHON_PACKAGES
        )
        packages = (self.folder / "packages").glob("*.deb")
        versions["Debian packages"] = ", ".join(sorted(path.stem.rpartition("_")[0] for path in packages))
        return versions


class Lab:
    """The running server and identity endpoint. Starts agents and peers on request."""

    def __init__(self, tools, logs):
        self.tools = tools
        self.logs = logs
        self.stack = contextlib.ExitStack()
        self.token = token()
        self.password = secrets.token_hex(16)
        self.header = secrets.token_hex(16)

    def __enter__(self):
        with self.stack:
            self.folder = pathlib.Path(self.stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
            self.logs.mkdir(parents=True, exist_ok=True)
            self.ca_file = certificates(self.folder)
            self.identity_port = free_port()
            self._run(
                "identity",
                [sys.executable, HERE / "identity.py", self.identity_port],
                env={"BENCH_HEADER": self.header, "BENCH_TOKEN": self.token},
            )
            self.port = self._redis("redis-server", self.stack)
            wait_for_port(self.identity_port)
            self.stack = self.stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _run(self, name, args, **options):
        return self.stack.enter_context(self.start(name, args, **options))

    def start(self, name, args, **options):
        return Process(args, self.logs / f"{name}.log", **options)

    def _redis(self, name, stack, *options):
        """Starts a server, which `stack` stops, and returns its port."""
        port = free_port()
        folder = self.folder / name
        folder.mkdir()
        configuration = self._redis_configuration(folder, port, options)
        server = stack.enter_context(self.start(name, ["redis-server", configuration]))
        wait_for_port(port, server)
        return port

    def _redis_configuration(self, folder, port, options):
        users = folder / "users.acl"
        # `many` may not run CLIENT LIST. A list of thousands of clients is not realistic for one target, and sending
        # it thousands of times would measure the server.
        probe = "~cachepulse:* +ping +set +get +cluster|slots"
        users.write_text(
            f"user default off\n"
            f"user {OBJECT_ID} on #{sha256(self.token)} ~* &* +@all\n"
            f"user single on #{sha256(self.password)} {probe} +client|list\n"
            f"user many on #{sha256(self.password)} {probe}\n"
        )
        configuration = folder / "redis.conf"
        configuration.write_text(
            f"bind 127.0.0.1\nport 0\ntls-port {port}\n"
            f"tls-cert-file {self.folder}/server.pem\ntls-key-file {self.folder}/server.key\n"
            f"tls-ca-cert-file {self.ca_file}\ntls-auth-clients no\n"
            f'aclfile {users}\ndir {folder}\nsave ""\nappendonly no\nmaxclients 12000\ntcp-backlog 511\n'
            + "".join(f"{option}\n" for option in options)
        )
        return configuration

    @contextlib.contextmanager
    def cluster(self, shards):
        """Runs a cluster of primaries. Its value is the list of their ports."""
        cluster = ["cluster-enabled yes", "tls-cluster yes"]
        buses = [free_port() for _ in range(shards)]
        with contextlib.ExitStack() as servers:
            ports = [
                self._redis(f"shard-{shard}", servers, *cluster, f"cluster-port {bus}")
                for shard, bus in enumerate(buses)
            ]
            nodes = [Admin(self, port) for port in ports]
            for shard, node in enumerate(nodes):
                node.command("CLUSTER", "SET-CONFIG-EPOCH", str(shard + 1))
                first, end = (16384 * place // shards for place in (shard, shard + 1))
                node.command("CLUSTER", "ADDSLOTSRANGE", str(first), str(end - 1))
                if shard > 0:
                    node.command("CLUSTER", "MEET", "127.0.0.1", str(ports[0]), str(buses[0]))
            wait_for_cluster(nodes)
            yield ports

    @property
    def identity_environment(self):
        """Returns the environment of an App Service process with a managed identity."""
        return {
            "IDENTITY_ENDPOINT": f"http://127.0.0.1:{self.identity_port}/msi/token",
            "IDENTITY_HEADER": self.header,
        }

    def agent(self, name, interval, targets=1, user=None, **settings):
        """Starts an agent that signs in with a managed identity, or as a user with a password.

        `settings` are further parts of its configuration.
        """
        return Agent(self, name, interval, [{"port": self.port}] * targets, user, **settings)

    def agent_of(self, name, interval, targets):
        """Starts an agent with `targets`, for which settings are given, that signs in as a user with a password."""
        return Agent(self, name, interval, targets, "single")

    def redis_exporter(self):
        port = free_port()
        process = self.start(
            "redis_exporter",
            [
                self.tools.exporter("prometheus-redis-exporter"),
                *("-redis.addr", f"rediss://localhost:{self.port}"),
                *("-tls-ca-cert-file", self.ca_file),
                *("-web.listen-address", f"127.0.0.1:{port}"),
            ],
            env={"REDIS_USER": OBJECT_ID, "REDIS_PASSWORD": self.token},
        )
        wait_for_port(port, process)
        return Exporter(process, port, "/metrics", "redis_up 1")

    def blackbox_exporter(self):
        port = free_port()
        configuration = self.folder / "blackbox.yml"
        exchange = [
            {"send": f"AUTH {OBJECT_ID} {self.token}"},
            {"expect": r"^\+OK"},
            {"send": "PING"},
            {"expect": r"^\+PONG"},
        ]
        tcp = {"query_response": exchange, "tls": True, "tls_config": {"ca_file": str(self.ca_file)}}
        # JSON is YAML.
        configuration.write_text(json.dumps({"modules": {"redis": {"prober": "tcp", "tcp": tcp}}}))
        process = self.start(
            "blackbox_exporter",
            [
                self.tools.exporter("prometheus-blackbox-exporter"),
                f"--config.file={configuration}",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
        )
        wait_for_port(port, process)
        path = f"/probe?module=redis&target=localhost:{self.port}"
        return Exporter(process, port, path, "probe_success 1")

    def quickstart(self, interval, count, **options):
        args = [self.tools.python, HERE / "quickstart.py", "localhost", self.port, self.ca_file, OBJECT_ID]
        return self.start("quickstart", [*args, interval, count], env=self.identity_environment, **options)

    def bare_ping(self, pause_ms, count):
        return self._bare_session("ping", pause_ms, count)

    def bare_probe(self, pause_ms, count):
        return self._bare_session("probe", pause_ms, count)

    def _bare_session(self, what, pause_ms, count):
        args = [self.tools.bare, what, "localhost", self.port, self.ca_file, "single", pause_ms, count]
        return Bare(self.start("bare", args, env={"BENCH_PASSWORD": self.password}, stdout=subprocess.PIPE))

    def bare_scrape(self, port, encoding, pause_ms, count, accept="text/plain"):
        args = [self.tools.bare, "scrape", "127.0.0.1", port, "/metrics", accept, encoding, pause_ms, count]
        return Bare(self.start("bare", args, stdout=subprocess.PIPE))

    def admin(self):
        """Opens an administrator's connection to the server."""
        return Admin(self, self.port)


class Bare:
    """A running bare loop. `bare.rs` describes its output."""

    def __init__(self, process):
        self.process = process
        self.told = []

    def finish(self):
        """Waits until it has finished, and returns the round trips in seconds."""
        with self.process:
            lines = self.process.child.communicate()[0].decode().splitlines()
            if self.process.child.returncode != 0:
                self.process.check()
        self.told = [int(line.split()[1]) for line in lines]
        return [int(line.split()[0]) / 1e9 for line in lines]


class Exporter:
    """A peer that probes on request."""

    def __init__(self, process, port, path, good):
        self.process, self.port, self.path, self.good = process, port, path, good

    def probe(self):
        if self.good not in get(self.port, self.path):
            raise RuntimeError(f"{self.process.args[0]} does not say `{self.good}`")


class Agent:
    """A running agent with its endpoint."""

    def __init__(self, lab, name, interval, targets, user, **settings):
        self.port = free_port()
        identity = {"type": "password", "password": {"env": "BENCH_PASSWORD"}} if user else "managed_identity"
        # A configuration of thousands of targets may have 1 MiB.
        defaults = {
            "interval": interval,
            "tls": {"ca_file": str(lab.ca_file)},
            "identity": identity,
            **({"username": user} if user else {}),
        }
        configuration = {
            "http": {"listen": f"127.0.0.1:{self.port}"},
            "defaults": defaults,
            "targets": [
                {"name": f"target-{number}", "host": "localhost", **own} for number, own in enumerate(targets)
            ],
            **settings,
        }
        file = lab.folder / f"{name}.yaml"
        file.write_text(json.dumps(configuration))
        environment = {"BENCH_PASSWORD": lab.password} if user else lab.identity_environment
        self.targets = len(targets)
        self.started = time.monotonic()
        self.process = lab.start(name, [lab.tools.agent, "run", "--config", file], env=environment)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stop()

    def metrics(self):
        return get(self.port, "/metrics")

    def total(self, name, metrics=None):
        """Returns the sum of a metric over all its series."""
        lines = (self.metrics() if metrics is None else metrics).splitlines()
        return sum(
            float(line.rpartition(" ")[2]) for line in lines if line.startswith((name + "{", name + " "))
        )

    def wait(self, probes, timeout=120):
        """Waits until every target has had `probes` probes and the last one of each succeeded."""
        end = time.monotonic() + timeout
        metrics = ""
        while True:
            self.process.check()
            try:
                metrics = self.metrics()
            except OSError:
                pass
            probed = self.total("cachepulse_probes_total", metrics) >= probes * self.targets
            if probed and self.total("cachepulse_probe_success", metrics) == self.targets:
                break
            if time.monotonic() > end:
                raise RuntimeError(f"not all targets are well after {timeout} s: {self.failures(metrics) or metrics}")
            # The metrics of thousands of targets take megabytes, and reading them takes time.
            time.sleep(0.1 if self.targets <= 10 else 2)
        self.failed_at_first = self.total("cachepulse_probe_failures_total", metrics)
        self.late_at_first = self.total("cachepulse_late_ticks_total", metrics)

    def failures(self, metrics):
        """Returns the number of failed probes by reason."""
        found = re.findall(r'^cachepulse_probe_failures_total{reason="(\w+)".* (\d+)$', metrics, re.MULTILINE)
        counts = collections.Counter()
        for reason, count in found:
            counts[reason] += int(count)
        return {reason: count for reason, count in counts.items() if count}

    def few_failures(self):
        """Raises if more than 1 % of the probes since `wait` have failed, because the figures are then invalid."""
        metrics = self.metrics()
        failed = self.total("cachepulse_probe_failures_total", metrics) - self.failed_at_first
        if failed * 100 > self.total("cachepulse_probes_total", metrics):
            raise RuntimeError(f"probes failed: {self.failures(metrics)}, {self.failed_at_first:.0f} at first")

    def recent_pings(self):
        """Returns the PINGs of the last ten probes of each target: time of the probe and seconds."""
        targets = json.loads(get(self.port, "/status"))["targets"]
        return {
            (target["target"], outcome["time"]): step["duration_seconds"]
            for target in targets
            for outcome in target["recent"]
            for step in outcome["steps"]
            if step["step"] == "ping"
        }


class Admin:
    """An administrator's connection to the server."""

    def __init__(self, lab, port):
        context = ssl.create_default_context(cafile=lab.ca_file)
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket = context.wrap_socket(plain, server_hostname="localhost")
        self.command("AUTH", OBJECT_ID, lab.token)

    def command(self, *words):
        """Sends a command with a short reply."""
        request = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
        self.socket.sendall(request.encode())
        reply = self.socket.recv(4096).decode()
        if reply.startswith("-"):
            raise RuntimeError(f"{words[0]}: {reply}")
        return reply


def get(port, path, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", path, headers=headers or {})
        response = connection.getresponse()
        body = response.read().decode(errors="replace")
        if response.status != 200:
            raise RuntimeError(f"{path} answers {response.status}: {body[:200]}")
        return body
    finally:
        connection.close()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port, process=None):
    for _ in range(500):
        if process:
            process.check()
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"nothing listens on port {port}")


def wait_for_cluster(nodes):
    """Waits until each node of a new cluster knows the others and an owner of every slot."""
    end = time.monotonic() + 30
    for node in nodes:
        while not {"cluster_state:ok", f"cluster_known_nodes:{len(nodes)}"} <= set(
            node.command("CLUSTER", "INFO").split()
        ):
            if time.monotonic() > end:
                raise RuntimeError("the nodes of the cluster do not find each other")
            time.sleep(0.05)


def certificates(folder):
    """Creates a certificate authority and a certificate for localhost, and returns the authority's file."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    run(["openssl", "req", "-x509", *key, "-keyout", ca_key, "-out", ca, "-days", "30", "-subj", "/CN=bench"])
    request = folder / "server.csr"
    run(["openssl", "req", *key, "-keyout", folder / "server.key", "-out", request, "-subj", "/CN=localhost"])
    extensions = folder / "extensions"
    extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:FALSE\n")
    sign = ["openssl", "x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial"]
    run([*sign, "-days", "30", "-extfile", extensions, "-out", folder / "server.pem"])
    return ca


def token():
    """Creates a token in Entra's format. The server accepts it as the password of the user with this object id."""
    claims = {"aud": "https://redis.azure.com", "oid": OBJECT_ID, "exp": int(time.time()) + 24 * 3600}
    parts = [json.dumps({"alg": "RS256", "typ": "JWT"}).encode(), json.dumps(claims).encode()]
    # An RS256 signature has 256 bytes. Nothing checks it here.
    parts.append(secrets.token_bytes(256))
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


def run(args, **options):
    subprocess.run([str(arg) for arg in args], check=True, stdout=sys.stderr, stderr=subprocess.PIPE, **options)


def output(args):
    try:
        done = subprocess.run([str(arg) for arg in args], capture_output=True, text=True, check=True)
        return done.stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown ({error})"
