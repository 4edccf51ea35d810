//! The stand-in and real programs: redis-cli and redis-py as its clients, redis-server as its backend.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use cachepulse_standin::{Backend, ClusterOptions, HOST, Options, Product, Secret, Standin};

const HOUR: Duration = Duration::from_secs(3600);

/// A stand-in, with the root of its certificates in a file.
struct Lab {
    standin: Standin,
    folder: tempfile::TempDir,
}

impl Lab {
    async fn start(backend: Backend) -> Self {
        Self::start_with(Options { backend, ..Options::default() }).await
    }

    async fn start_with(options: Options) -> Self {
        let standin = Standin::start(options).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), standin.ca_pem()).unwrap();
        Self { standin, folder }
    }

    fn ca_file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    fn token(&self) -> String {
        self.standin.token(HOUR).unwrap().secret.expose().to_owned()
    }

    /// Runs redis-cli as `user`, with one command per line on its standard input, and returns its output.
    async fn redis_cli(&self, user: &str, secret: &str, flags: &[&str], commands: &str) -> String {
        let mut cli = Command::new("redis-cli");
        cli.args(["--tls", "--cacert"]).arg(self.ca_file()).args(["--sni", HOST, "-h", HOST]);
        cli.arg("-p").arg(self.standin.cache_port().to_string());
        cli.args(["--user", user]).args(flags).env("REDISCLI_AUTH", secret);
        let output = run(cli, commands.to_owned()).await;
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && stderr.is_empty(), "{stdout}{stderr}");
        stdout
    }
}

/// Runs a program to its end, off this thread, which serves the stand-in.
async fn run(mut program: Command, input: String) -> Output {
    use std::io::Write as _;
    let shown = format!("{program:?}");
    let running = tokio::task::spawn_blocking(move || {
        let mut child =
            program.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        child.stdin.take().expect("it was piped").write_all(input.as_bytes())?;
        child.wait_with_output()
    });
    let ended = tokio::time::timeout(Duration::from_secs(60), running).await;
    ended
        .unwrap_or_else(|_| panic!("{shown} does not end"))
        .unwrap()
        .unwrap_or_else(|error| panic!("{shown}: {error}"))
}

#[tokio::test]
async fn redis_cli_works_in_resp2_and_resp3() {
    let lab = Lab::start(Backend::Memory).await;
    let commands = "SET k 41 EX 60\nINCR k\nTTL k\nTYPE k\nEXISTS k other\nGET other\nSELECT 0\nMULTI\nINCR k\nGET k\n\
                    EXEC\nCLIENT GETNAME\nCLIENT NO-EVICT on\nDBSIZE\nPING\n";
    let replies = "OK\n42\n60\nstring\n1\n\nOK\nOK\nQUEUED\nQUEUED\n43\n43\n\nOK\n1\nPONG\n";
    let (key, token) = (lab.standin.access_key().expose().to_owned(), lab.token());
    for (user, secret) in [("default", key.as_str()), (lab.standin.object_id(), &token)] {
        for flags in [&["-2"][..], &["-3"]] {
            assert_eq!(lab.redis_cli(user, secret, flags, commands).await, replies, "{user} {flags:?}");
        }
    }
    let info = lab.redis_cli("default", &key, &["-3"], "INFO\nCLIENT LIST\nHELLO\nCOMMAND DOCS get\n").await;
    for part in ["redis_mode:standalone", "name=orders-api", "proto 3"] {
        assert!(info.contains(part), "{part} is missing: {info}");
    }
}

#[tokio::test]
async fn redis_cli_gets_an_error_for_an_unknown_or_too_long_command() {
    let lab = Lab::start(Backend::Memory).await;
    let key = lab.standin.access_key().expose().to_owned();
    let commands =
        format!("CONFIG GET maxmemory\nSET k {}\nCLIENT MAINT_NOTIFICATIONS ON\nPING\n", "x".repeat(1 << 20));
    let output = lab.redis_cli("default", &key, &[], &commands).await;
    let lines: Vec<&str> = output.lines().filter(|line| !line.is_empty()).collect();
    let expected = [
        "ERR unknown command 'CONFIG', with args beginning with: 'GET' 'maxmemory' ",
        "ERR string exceeds maximum allowed size (proto-max-bulk-len)",
        "ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.",
        "PONG",
    ];
    assert_eq!(lines, expected);
}

#[tokio::test]
async fn redis_py_works_in_resp2_and_resp3() {
    redis_py(&Lab::start(Backend::Memory).await, "tests/clients/redis_py.py").await;
}

#[tokio::test]
async fn redis_py_uses_a_cluster_in_resp2_and_resp3() {
    for product in [Product::CacheForRedis, Product::ManagedRedisOss] {
        let cluster = Some(ClusterOptions { product, ..ClusterOptions::default() });
        let lab = Lab::start_with(Options { cluster, ..Options::default() }).await;
        redis_py(&lab, "tests/clients/redis_py_cluster.py").await;
    }
}

/// Runs a script in both versions of the protocol.
async fn redis_py(lab: &Lab, script: &str) {
    let python =
        std::env::var("CLIENTS_PYTHON").expect("CLIENTS_PYTHON is a Python with redis-py: make clients-test");
    let token = lab.token();
    for protocol in ["2", "3"] {
        let mut program = Command::new(&python);
        program.arg(script).args([HOST, &lab.standin.cache_port().to_string()]);
        program.arg(lab.ca_file()).args([lab.standin.object_id(), protocol]).env("REDIS_PASSWORD", &token);
        let output = run(program, String::new()).await;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "RESP{protocol}: {stderr}");
    }
}

#[tokio::test]
async fn redis_cli_follows_the_redirects_of_a_cluster() {
    for product in [Product::CacheForRedis, Product::ManagedRedisOss, Product::ManagedRedisEnterprise] {
        let cluster = Some(ClusterOptions { product, ..ClusterOptions::default() });
        let lab = Lab::start_with(Options { cluster, ..Options::default() }).await;
        let (key, token) = (lab.standin.access_key().expose().to_owned(), lab.token());
        let commands = "SET bar 1\nSET {}foo 2\nSET a 3\nGET bar\nGET {}foo\nGET a\n";
        for (user, secret) in [("default", key.as_str()), (lab.standin.object_id(), &token)] {
            for protocol in ["-2", "-3"] {
                let output = lab.redis_cli(user, secret, &["-c", protocol], commands).await;
                let replies: Vec<&str> = output.lines().filter(|line| !line.starts_with("-> ")).collect();
                assert_eq!(replies, ["OK", "OK", "OK", "1", "2", "3"], "{product:?} {user} {protocol}");
            }
        }
        let ports = lab.standin.cluster().unwrap().ports();
        let slots = lab.redis_cli("default", &key, &["-3"], "CLUSTER SLOTS\n").await;
        assert!(ports.iter().all(|port| slots.contains(&port.to_string())), "{slots}");
        assert_eq!(ports.is_empty(), slots.starts_with("ERR unknown command"), "{slots}");
    }
}

/// A redis-server at a Unix socket. It ends when dropped.
struct RedisServer {
    child: Child,
    folder: tempfile::TempDir,
}

impl RedisServer {
    const PASSWORD: &str = "known-to-the-front-alone";

    /// Starts one with these users and their rights.
    async fn start(users: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = "port 0\nsave \"\"\nappendonly no\nunixsocket redis.sock\n".to_owned();
        for (user, rules) in users {
            writeln!(config, "user {user} on >{} {rules}", Self::PASSWORD).unwrap();
        }
        std::fs::write(folder.path().join("redis.conf"), config).unwrap();
        let mut server = Command::new("redis-server");
        let child =
            server.arg("redis.conf").current_dir(folder.path()).stdout(Stdio::null()).spawn().unwrap();
        let server = Self { child, folder };
        tokio::time::timeout(Duration::from_secs(20), async {
            while tokio::net::UnixStream::connect(server.socket()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await
        .expect("redis-server listens");
        server
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("redis.sock")
    }

    fn backend(&self) -> Backend {
        Backend::RedisServer { socket: self.socket(), password: Secret::new(Self::PASSWORD.to_owned()) }
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_real_redis_server_behind_the_front_applies_its_own_permissions() {
    // The user's name is fixed; see the crate's OBJECT_ID.
    let object_id = Standin::start(Options::default()).await.unwrap().object_id();
    let rules = "~cachepulse:* +ping +set +get +client|id +client|list";
    let server = RedisServer::start(&[(object_id, rules), ("default", "~* &* +@all")]).await;
    let lab = Lab::start(server.backend()).await;
    let token = lab.token();
    for flags in [&["-2"][..], &["-3"]] {
        let commands = "SET cachepulse:k v\nGET cachepulse:k\nSET other v\nCLIENT LIST\n";
        let output = lab.redis_cli(object_id, &token, flags, commands).await;
        assert!(output.starts_with("OK\nv\nNOPERM "), "{output}");
        assert!(output.contains(&format!(" user={object_id} ")), "{output}");
    }
    let key = lab.standin.access_key().expose().to_owned();
    assert_eq!(lab.redis_cli("default", &key, &[], "FLUSHALL\n").await, "OK\n");
}
