//! A local Azure with a real redis-server behind its cache, and the flags and files to run the agent against it.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cachepulse_standin::{HOST, Options, Standin, TOKEN_PROXY_NAME, Token};
use tempfile::TempDir;

use crate::program::{Program, cachepulse};
use crate::redis_server::{ALL, Listen, RedisServer};

/// A token lifetime that is longer than any test.
const HOUR: Duration = Duration::from_secs(3600);

/// The policy "Data Contributor" of Azure Cache for Redis, which does not include `CLIENT LIST`.
pub(crate) const CONTRIBUTOR: &str = "+@all -@dangerous +cluster|info +cluster|nodes +cluster|slots allkeys";

/// An Azure with one identity and one cache.
pub(crate) struct Lab {
    pub(crate) azure: Standin,
    pub(crate) redis: RedisServer,
    folder: TempDir,
}

impl Lab {
    pub(crate) async fn start() -> Self {
        Self::set_up(Options { token_lifetime: HOUR, ..Options::default() }, ALL).await
    }

    /// Starts a lab whose tokens are valid for `lifetime`.
    pub(crate) async fn with_tokens_of(lifetime: Duration) -> Self {
        Self::set_up(Options { token_lifetime: lifetime, ..Options::default() }, ALL).await
    }

    /// Starts a lab whose identity has this policy on the cache.
    pub(crate) async fn with_policy(rules: &str) -> Self {
        Self::set_up(Options { token_lifetime: HOUR, ..Options::default() }, rules).await
    }

    /// Starts a lab with these options, except for the backend, whose identity has this policy on the cache.
    pub(crate) async fn set_up(options: Options, rules: &str) -> Self {
        let redis = RedisServer::start(Listen::Socket, &[("default", ALL)]).await;
        Self::before(redis, options, rules).await
    }

    /// The same in front of a running redis-server.
    pub(crate) async fn before(redis: RedisServer, options: Options, rules: &str) -> Self {
        let options = Options { backend: redis.backend(), ..options };
        let azure = Standin::start(options).await.unwrap();
        redis.set_user(azure.object_id(), rules);
        let lab = Self { azure, redis, folder: tempfile::tempdir().unwrap() };
        lab.file("ca.pem", &lab.azure.ca_pem());
        lab
    }

    /// Writes a file for the agent atomically, and returns its path.
    pub(crate) fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.path(name);
        let mut file = tempfile::NamedTempFile::new_in(self.folder.path()).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file.persist(&path).unwrap();
        path
    }

    /// Returns a path in the lab's folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Returns the file with the root of the lab's certificates.
    pub(crate) fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// Returns a file with the cache's access key.
    pub(crate) fn access_key_file(&self) -> PathBuf {
        self.file("access-key", self.azure.access_key().expose())
    }

    /// Returns a file with a service account's token and a trailing line break.
    pub(crate) fn federated_token_file(&self) -> PathBuf {
        let token = self.azure.federated_token(HOUR).unwrap();
        self.file("federated-token", &format!("{}\n", token.expose()))
    }

    /// Returns the flags for the lab's cache.
    pub(crate) fn flags(&self) -> [String; 6] {
        let (port, ca_file) = (self.azure.cache_port().to_string(), self.ca_file().display().to_string());
        ["--host".into(), HOST.into(), "--port".into(), port, "--ca-file".into(), ca_file]
    }

    /// Returns `cachepulse check` of the lab's cache.
    pub(crate) fn check<const N: usize>(&self, more: [&str; N]) -> Program {
        self.app_service(cachepulse(["check"]).args(self.flags()).args(more))
    }

    /// Returns `cachepulse run` with the lab's cache as the target `orders`, on a free port.
    pub(crate) fn run<const N: usize>(&self, more: [&str; N]) -> Program {
        let run = cachepulse(["run", "--listen", "127.0.0.1:0", "--name", "orders"]);
        self.app_service(run.args(self.flags()).args(more))
    }

    /// Returns `cachepulse run` with a configuration file.
    pub(crate) fn run_file(&self, file: &Path) -> Program {
        self.app_service(cachepulse(["run", "--config"]).args([file]))
    }

    /// Adds the variables of App Service.
    pub(crate) fn app_service(&self, program: Program) -> Program {
        program
            .env("IDENTITY_ENDPOINT", self.azure.identity_endpoint())
            .env("IDENTITY_HEADER", self.azure.identity_header().expose())
    }

    /// Adds the variables of a Kubernetes pod with a workload identity.
    pub(crate) fn pod(&self, program: Program) -> Program {
        self.application(program).env("AZURE_FEDERATED_TOKEN_FILE", self.federated_token_file())
    }

    /// Adds the variables of a Kubernetes pod with an AKS identity binding.
    pub(crate) fn bound_pod(&self, program: Program) -> Program {
        let token = self.azure.binding_token(HOUR).unwrap();
        self.application(program)
            .env("AZURE_FEDERATED_TOKEN_FILE", self.file("binding-token", token.expose()))
            .env("AZURE_KUBERNETES_TOKEN_PROXY", self.azure.token_proxy_url())
            .env("AZURE_KUBERNETES_SNI_NAME", TOKEN_PROXY_NAME)
            .env("AZURE_KUBERNETES_CA_FILE", self.file("proxy-ca.pem", &self.azure.token_proxy_ca_pem()))
    }

    /// Adds the variables of an application.
    pub(crate) fn application(&self, program: Program) -> Program {
        program
            .env("AZURE_CLIENT_ID", self.azure.client_id())
            .env("AZURE_TENANT_ID", self.azure.tenant_id())
            .env("AZURE_AUTHORITY_HOST", self.azure.authority_url())
            .env("SSL_CERT_FILE", self.ca_file())
    }

    /// Returns a target of a configuration file: the lab's cache, and `more` keys in YAML's flow style.
    pub(crate) fn target(&self, name: &str, more: &str) -> String {
        let (port, ca_file) = (self.azure.cache_port(), self.ca_file());
        let ca_file = ca_file.display();
        format!("{{name: {name}, host: {HOST}, port: {port}, tls: {{ca_file: '{ca_file}'}}, {more}}}")
    }

    /// Returns a configuration with these targets and a free port.
    pub(crate) fn config<T: AsRef<str>>(targets: impl IntoIterator<Item = T>) -> String {
        let mut config = "http: {listen: '127.0.0.1:0'}\ntargets:\n".to_owned();
        for target in targets {
            writeln!(config, "- {}", target.as_ref()).unwrap();
        }
        config
    }

    /// Returns a folder for PATH with one command, a shell script that uses only builtins.
    pub(crate) fn command(&self, name: &str, script: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = self.path(&format!("{name}-folder"));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }

    /// Returns the folder of an `az` that returns this token.
    pub(crate) fn az(&self, token: &Token) -> PathBuf {
        self.command("az", &self.az_script(token))
    }

    /// Returns the script of an `az` that returns this token.
    pub(crate) fn az_script(&self, token: &Token) -> String {
        let expires_on = token.expires_at.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let answer = serde_json::json!({
            "accessToken": token.secret.expose(),
            "expiresOn": "2027-01-01 00:00:00.000000",
            "expires_on": expires_on,
            "subscription": "lab",
            "tenant": self.azure.tenant_id(),
            "tokenType": "Bearer",
        });
        format!("[ \"$1 $2\" = 'account get-access-token' ] && echo '{answer}'")
    }

    /// Returns a token for the cache that is valid for an hour.
    pub(crate) fn token(&self) -> Token {
        self.azure.token(HOUR).unwrap()
    }

    /// Returns the folder of an `azd` that returns a token.
    pub(crate) fn azd(&self) -> PathBuf {
        self.command("azd", &self.azd_script())
    }

    /// Returns the script of an `azd` that returns a token.
    pub(crate) fn azd_script(&self) -> String {
        let answer =
            serde_json::json!({"token": self.token().secret.expose(), "expiresOn": "2099-01-01T00:00:00Z"});
        format!("[ \"$1 $2\" = 'auth token' ] && echo '{answer}'")
    }
}
