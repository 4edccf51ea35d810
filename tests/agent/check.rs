//! `cachepulse check`: its exit codes and messages.

use std::time::Duration;

use cachepulse_standin::{Announcing, CertificateAuthority, Clock, Dialect, HOST, Profile, TokenFault};
use tokio::time::sleep;

use crate::cluster_bed::Cluster;
use crate::lab::{CONTRIBUTOR, Lab};
use crate::nodes;
use crate::port::Port;
use crate::program::{Ended, cachepulse, within};
use crate::redis_server::{ADMIN, ALL, Listen, PASSWORD, RedisServer};

#[tokio::test]
async fn a_refused_connection_is_shown_with_the_systems_error_and_advice() {
    let nobody = Port::reserve();
    let port = nobody.number.to_string();
    let ended = cachepulse(["check", "--host", "127.0.0.1", "--tls", "false", "--identity", "none"])
        .args(["--port", &port])
        .run()
        .await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains(", 3 attempts: connect_refused at connect\n"), "{ended:?}");
    assert!(ended.stdout.contains(&format!("127.0.0.1:{port}")), "{ended:?}");
    assert!(ended.stdout.contains("Connection refused"), "{ended:?}");
    assert!(ended.stdout.contains("Nothing listens there: check `--port`"), "{ended:?}");
}

#[tokio::test]
async fn a_refused_sign_in_is_auth_rejected_in_both_dialects() {
    let lab = Lab::start().await;
    lab.azure.cache().revoke(lab.azure.object_id());
    for (dialect, words) in [
        (Dialect::CacheForRedis, "ERR WRONGPASS invalid username-password pair"),
        (Dialect::ManagedRedis, "WRONGPASS invalid username-password pair or user is disabled."),
    ] {
        lab.azure.cache().set_profile(Profile { dialect, ..Profile::default() });
        let ended = lab.check([]).run().await;
        assert_eq!(ended.code, Some(1));
        assert!(ended.stdout.contains(": auth_rejected at auth\n"), "{ended:?}");
        assert!(ended.stdout.contains(&format!("\n    {words}\n")), "{ended:?}");
        assert!(ended.stdout.contains("data access policy"), "{ended:?}");
    }
    let as_json = lab.check(["--output", "json"]).run().await;
    let result: serde_json::Value = serde_json::from_str(&as_json.stdout).unwrap();
    assert_eq!(result["result"], "failure");
    assert_eq!(result["failure"]["reason"], "auth_rejected");
    assert_eq!(result["failure"]["stage"], "auth");
    assert!(result["failure"]["detail"].as_str().unwrap().starts_with("WRONGPASS "), "{result}");
    assert!(result["failure"]["advice"].as_str().unwrap().contains("data access policy"), "{result}");
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_or_another_host_or_an_expired_one_is_not_trusted() {
    let lab = Lab::start().await;
    let untrusted = async |words: &str| {
        let ended = lab.check([]).run().await;
        assert_eq!(ended.code, Some(1), "{words}");
        assert!(ended.stdout.contains(": tls_certificate at tls\n"), "{ended:?}");
        assert!(ended.stdout.to_lowercase().contains(words), "{words}: {ended:?}");
    };
    let authority = lab.azure.certificate_authority();
    lab.azure.cache().set_certificate(authority.issue(&["elsewhere.example"]).unwrap());
    untrusted("not valid for localhost").await;
    lab.azure.cache().set_certificate(authority.issue_expired(&[HOST]).unwrap());
    untrusted("expired").await;
    let unknown = CertificateAuthority::new(Clock::system()).unwrap();
    lab.azure.cache().set_certificate(unknown.issue(&[HOST]).unwrap());
    untrusted("not signed by the trusted authority").await;
}

#[tokio::test]
async fn at_most_10_names_of_a_certificate_are_listed() {
    let lab = Lab::start().await;
    let others: Vec<String> = (1..=11).map(|number| format!("n{number}.example")).collect();
    let names: Vec<&str> = std::iter::once(HOST).chain(others.iter().map(String::as_str)).collect();
    lab.azure.cache().set_certificate(lab.azure.certificate_authority().issue(&names).unwrap());
    let ended = lab.check([]).run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let row = format!("      names   : {} and 2 more\n", names[..10].join(", "));
    assert!(ended.stdout.contains(&row), "{ended:?}");
}

#[tokio::test]
async fn without_an_identity_no_user_is_named() {
    let lab = Lab::start().await;
    let ended = lab.check(["--identity", "none"]).run().await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(!ended.stdout.contains("   as "), "{ended:?}");
}

#[tokio::test]
async fn a_failed_check_shows_the_details_of_the_phases_before() {
    let lab = Lab::start().await;
    let (object_id, port) = (lab.azure.object_id().to_owned(), lab.azure.cache_port());
    let certificate = "      subject : CN=cachepulse stand-in\n      names   : localhost\n      \
                       issuer  : CN=cachepulse stand-in CA\n      expires : 20";

    lab.azure.cache().revoke(lab.azure.object_id());
    let refused = lab.check([]).run().await;
    for words in [
        "   auto, valid for 59 min\n",
        "   127.0.0.1\n",
        &format!("   127.0.0.1:{port}\n"),
        "   TLS 1.3, certificate valid for 364 days\n",
        certificate,
        &format!("  auth              failed   as {object_id}\n"),
    ] {
        assert!(refused.stdout.contains(words), "{words}: {refused:?}");
    }
    let as_json = lab.check(["--output", "json"]).run().await;
    let result: serde_json::Value = serde_json::from_str(&as_json.stdout).unwrap();
    let connection = &result["connection"];
    assert_eq!(connection["username"], object_id);
    assert_eq!(connection["tls_version"], "1.3");
    assert_eq!(connection["certificate"]["issuer"], "CN=cachepulse stand-in CA");
    assert_eq!(connection["token"]["object_id"], object_id);

    let authority = lab.azure.certificate_authority();
    lab.azure.cache().set_certificate(authority.issue_expired(&[HOST]).unwrap());
    let expired = lab.check([]).run().await;
    assert!(
        expired.stdout.contains("  tls               failed   certificate expired 60 min ago\n"),
        "{expired:?}"
    );
    assert!(expired.stdout.contains(certificate), "{expired:?}");

    lab.azure.endpoint().set(|settings| settings.fault = Some(TokenFault::status(400)));
    let no_token = lab.check([]).run().await;
    assert!(no_token.stdout.contains("   auto, no token\n"), "{no_token:?}");
    assert!(!no_token.stdout.contains("resolve  "), "no connection was opened: {no_token:?}");
}

#[tokio::test]
async fn addresses_that_refuse_are_shown_with_the_systems_error() {
    let nobody = Port::reserve();
    let port = nobody.number.to_string();
    let check = || {
        cachepulse([
            "check",
            "--host",
            "127.0.0.1",
            "--tls",
            "false",
            "--identity",
            "none",
            "--attempts",
            "1",
        ])
        .args(["--port", &port])
    };
    let ended = check().run().await;
    let failed =
        format!("  connect           failed\n      127.0.0.1:{port}: Connection refused (os error 111)\n");
    assert!(ended.stdout.contains(&failed), "{ended:?}");
    let as_json = check().args(["--output", "json"]).run().await;
    let result: serde_json::Value = serde_json::from_str(&as_json.stdout).unwrap();
    let tried = serde_json::json!([
        {"address": format!("127.0.0.1:{port}"), "error": "Connection refused (os error 111)"}
    ]);
    assert_eq!(result["connection"], serde_json::json!({"addresses": ["127.0.0.1"], "tried": tried}));
}

#[tokio::test]
async fn at_most_20_clients_are_listed_without_the_flag_all() {
    let lab = Lab::start().await;
    let others: Vec<_> = (0..24).map(|_| lab.redis.admin().unwrap()).collect();
    let listed = async |arguments: &[&str]| {
        let ended = lab.check([]).args(arguments).run().await;
        (ended.stdout.matches("      id : ").count(), ended.stdout)
    };
    let (count, text) = listed(&[]).await;
    assert_eq!(count, 20);
    assert!(
        text.contains("25 clients") && text.contains("… and 5 more; --all lists every client\n"),
        "{text}"
    );
    let (count, text) = listed(&["--all"]).await;
    assert_eq!(count, 25);
    assert!(!text.contains(" more"), "{text}");
    let (_, json) = listed(&["--output", "json"]).await;
    let result: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(result["clients"]["count"], 25);
    assert_eq!(result["clients"]["list"].as_array().unwrap().len(), 20);
    assert_eq!(result["clients"]["truncated"], true);
    let (_, json) = listed(&["--output", "json", "--all"]).await;
    let result: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(result["clients"]["truncated"], false);
    drop(others);
}

#[tokio::test]
async fn a_forbidden_client_list_is_a_failure_only_if_it_is_required() {
    let lab = Lab::with_policy(CONTRIBUTOR).await;
    let ended = lab.check([]).run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("denied: this user may not see it (NOPERM)"), "{ended:?}");
    let ended = lab.check(["--client-list", "required"]).run().await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains(": permission_denied at client_list\n"), "{ended:?}");
    assert!(ended.stdout.contains("\n    NOPERM "), "{ended:?}");
    let ended = lab.check(["--client-list", "off"]).run().await;
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stdout.contains("CLIENT LIST"), "{ended:?}");
}

#[tokio::test]
async fn a_forbidden_set_is_a_failure() {
    let lab = Lab::with_policy("~* +ping +get +client|list").await;
    let ended = lab.check([]).run().await;
    assert_eq!(ended.code, Some(1));
    assert!(ended.stdout.contains(": permission_denied at set\n"), "{ended:?}");
    assert!(ended.stdout.contains("+ping +set +get +client|list"), "{ended:?}");
}

#[tokio::test]
async fn every_target_of_a_file_is_checked_and_one_failure_is_exit_code_1() {
    let lab = Lab::start().await;
    let nobody = Port::reserve();
    let down = format!("{{name: away, host: localhost, port: {}, attempts: 1}}", nobody.number);
    let config = Lab::config([lab.target("orders", "identity: managed_identity"), down]);
    let file = lab.file("config.yaml", &config);
    let check = || lab.app_service(cachepulse(["check", "--config"]).args([&file]));
    let both = check().args(["--output", "json"]).run().await;
    assert_eq!(both.code, Some(1));
    let results: Vec<serde_json::Value> =
        both.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let result = |at: usize| ["target", "result"].map(|field| results[at][field].as_str().unwrap());
    assert_eq!((result(0), result(1), results.len()), (["orders", "success"], ["away", "failure"], 2));
    assert_eq!(check().args(["--target", "orders"]).run().await.code, Some(0));
    assert_eq!(check().args(["--target", "away"]).run().await.code, Some(1));
    let unknown = check().args(["--target", "ordres"]).run().await;
    assert_eq!(unknown.code, Some(64));
    let message = "error: --target: the configuration has no target named \"ordres\"; it has orders, away\n";
    assert_eq!(unknown.stderr, message);
}

#[tokio::test]
async fn every_flag_has_a_variable() {
    let lab = Lab::start().await;
    let ended = lab
        .app_service(cachepulse(["check", "--output", "json"]))
        .env("CACHEPULSE_HOST", HOST)
        .env("CACHEPULSE_PORT", lab.azure.cache_port().to_string())
        .env("CACHEPULSE_CA_FILE", lab.ca_file())
        .env("CACHEPULSE_NAME", "by-variable")
        .env("CACHEPULSE_IDENTITY", "managed_identity")
        .env("CACHEPULSE_CLIENT_ID", lab.azure.client_id())
        .env("CACHEPULSE_CLIENT_LIST", "off")
        .run()
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let result: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(result["target"], "by-variable");
    assert_eq!(result["steps"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn the_advice_about_a_refused_sign_in_fits_the_identity() {
    let redis = RedisServer::start(Listen::Plaintext, &[("default", ALL)]).await;
    let advice = async |identity: &[&str]| {
        let ended = cachepulse(["check", "--host", "127.0.0.1", "--tls", "false"])
            .args(["--port", &redis.port().to_string()])
            .args(identity)
            .env("SECRET", "wrong")
            .run()
            .await;
        assert!(ended.stdout.contains(": auth_rejected at auth\n"), "{ended:?}");
        assert!(!ended.stdout.contains("policy"), "{ended:?}");
        ended.stdout.lines().last().unwrap().trim().to_owned()
    };
    assert_eq!(
        advice(&["--identity", "none"]).await,
        "The server expects a password, an access key or a token: set `--identity`."
    );
    let key = advice(&["--identity", "access_key", "--access-key-env", "SECRET"]).await;
    assert!(key.contains("that it has not been rotated"), "{key}");
    let user = ["--identity", "password", "--password-env", "SECRET", "--username", "nobody"];
    let user = advice(&user).await;
    assert!(user.contains("that the user `--username` exists"), "{user}");
}

#[tokio::test]
async fn the_server_is_shown_with_its_role() {
    let user = [("default", "nopass ~* +@all")];
    let nobody = Port::reserve();
    let replica = format!("replicaof 127.0.0.1 {}", nobody.number);
    for (lines, role, code) in [("", "primary", 0), (replica.as_str(), "replica", 1)] {
        let redis = RedisServer::start_with(Listen::Plaintext, &user, lines).await;
        let check = || {
            cachepulse(["check", "--host", "127.0.0.1", "--tls", "false", "--identity", "none"])
                .args(["--port", &redis.port().to_string()])
        };
        let ended = check().run().await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
        let row = ended.stdout.lines().find(|line| line.starts_with("  server ")).unwrap_or_default();
        assert!(row.ends_with(&format!(", standalone, {role}")), "{ended:?}");
        let as_json = check().args(["--output", "json"]).run().await;
        let result: serde_json::Value = serde_json::from_str(&as_json.stdout).unwrap();
        assert_eq!(
            (&result["server"]["mode"], &result["server"]["role"]),
            (&"standalone".into(), &role.into())
        );
    }
}

/// Checks the cluster through `node`.
async fn check_cluster(node: &RedisServer, output: &str) -> Ended {
    cachepulse(["check", "--host", "127.0.0.1", "--tls", "false", "--attempts", "1"])
        .args(["--port", &node.port().to_string(), "--output", output, "--command-timeout", "1s"])
        .args(["--identity", "password", "--password-env", "SECRET", "--username", ADMIN])
        .env("SECRET", PASSWORD)
        .run()
        .await
}

#[tokio::test]
async fn every_shard_of_a_cluster_is_checked() {
    let mut cluster = Cluster::start(Listen::Plaintext).await;
    cluster.require_full_coverage(false);
    for node in [0, 2] {
        let ended = check_cluster(cluster.node(node), "text").await;
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.stdout.contains(" 16384 slots covered, 16384 available; 3 nodes watched"), "{ended:?}");
        for shard in ["0   ", "5461", "10923"] {
            assert!(ended.stdout.contains(&format!("shard {shard:<5}  primary  up ")), "{ended:?}");
        }
        let host = format!("   127.0.0.1:{}\n", cluster.node(node).port());
        assert!(ended.stdout.contains(&host), "the way to the host: {ended:?}");
    }
    // Nobody has its replica to take over, too.
    cluster.kill(4).await;
    cluster.kill(1).await;
    // A node that was never reached decides nothing, as for the agent: behind a firewall it is no outage.
    let ended = check_cluster(cluster.node(0), "text").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("shard 5461   primary  unwatched "), "{ended:?}");
    assert!(ended.stdout.contains("        connect_refused at connect: "), "{ended:?}");
    let warning = format!(
        ", but 1 node is not watched\n  WARNING: not probed, because it cannot be reached from here: \
         shard 5461 at 127.0.0.1:{port} (slots 5461-10922).\n    If applications fail for keys in these slots, the node is \
         down.\n    Nothing listens at the address that the cluster announces: ",
        port = cluster.node(1).port()
    );
    assert!(ended.stdout.contains(&warning), "{ended:?}");
    let ended = check_cluster(cluster.node(0), "json").await;
    let result: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let states: Vec<_> =
        result["cluster"]["shards"].as_array().unwrap().iter().map(|shard| shard["state"].clone()).collect();
    assert_eq!(
        (&result["result"], &states[..]),
        (&"success".into(), &["up", "unwatched", "up"].map(Into::into)[..])
    );
    let steps = result["steps"].as_array().unwrap().iter().map(|step| step["step"].clone());
    assert_eq!(steps.collect::<Vec<_>>(), ["ping", "set", "get", "client_list"]);
    // A cluster that refuses all commands over it fails.
    cluster.require_full_coverage(true);
    within("the cluster is down", async {
        while !cluster.node(0).ask::<String>(&["CLUSTER", "INFO"]).contains("cluster_state:fail") {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    let ended = check_cluster(cluster.node(0), "text").await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains(": cluster_down at set\n    slots 0-5460\n"), "{ended:?}");
}

#[tokio::test]
async fn a_node_that_takes_connections_and_hangs_in_tls_has_been_reached_and_fails_the_check() {
    let mut cluster = Cluster::start(Listen::Tls).await;
    cluster.require_full_coverage(false);
    // Nobody takes over.
    cluster.kill(4).await;
    cluster.stop(1);
    let node = cluster.node(0);
    let ended = cachepulse(["check", "--host", "localhost", "--attempts", "1", "--connect-timeout", "2s"])
        .args(["--port", &node.port().to_string(), "--ca-file"])
        .args([node.ca_file()])
        .args(["--identity", "password", "--password-env", "SECRET", "--username", ADMIN])
        .env("SECRET", PASSWORD)
        .run()
        .await;
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for text in
        ["tls_handshake at tls\n    slots 5461-10922\n", "completes no TLS handshake", "primary  down "]
    {
        assert!(ended.stdout.contains(text), "{text}: {ended:?}");
    }
    assert!(!ended.stdout.contains("not watched"), "{ended:?}");
}

#[tokio::test]
async fn a_cluster_whose_topology_is_denied_is_checked_as_one_node_and_names_the_right() {
    let rules = "on nopass ~* +ping +set +get +client|list";
    let (node, _bus) = nodes::node(&[("default", rules)]).await;
    node.ask::<()>(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    nodes::until(&node, nodes::UP.0, nodes::UP.1).await;
    let ended = cachepulse(["check", "--host", "127.0.0.1", "--tls", "false", "--identity", "none"])
        .args(["--port", &node.port().to_string()])
        .run()
        .await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("+cluster|slots"), "{ended:?}");
}

#[tokio::test]
async fn replicas_are_read_where_they_are_to_be_probed_and_decide_nothing() {
    let mut cluster = Cluster::start(Listen::Plaintext).await;
    let check = async |cluster: &Cluster, user: &str, output: &str| {
        cachepulse(["check", "--host", "127.0.0.1", "--tls", "false", "--attempts", "1"])
            .args(["--port", &cluster.node(0).port().to_string(), "--output", output])
            .args(["--cluster-mode", "all", "--command-timeout", "1s"])
            .args(["--identity", "password", "--password-env", "SECRET", "--username", user])
            .env("SECRET", PASSWORD)
            .run()
            .await
    };
    let ended = check(&cluster, ADMIN, "text").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("16384 available; 6 nodes watched\n"), "{ended:?}");
    assert_eq!(ended.stdout.matches("  replica  up ").count(), 3, "{ended:?}");
    assert_eq!(ended.stdout.matches(" s behind\n").count(), 3, "{ended:?}");
    cluster.kill(4).await;
    let ended = check(&cluster, ADMIN, "json").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let result: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let shards = result["cluster"]["shards"].as_array().unwrap();
    let states: Vec<_> =
        shards.iter().map(|node| [&node["role"], &node["state"]].map(Clone::clone)).collect();
    let up = states.iter().filter(|state| state[1] == "up").count();
    let down: Vec<_> = shards.iter().filter(|node| node["state"] == "unwatched").collect();
    // The servers may hide it already.
    assert_eq!((up, down.len() <= 1), (5, true), "{states:?}");
    assert!(down.iter().all(|node| node["last_failure"]["reason"] == "connect_refused"), "{down:?}");

    let least = "~cachepulse:* +ping +set +get +client|list +cluster|slots";
    for index in [0, 1, 2, 3, 5] {
        cluster.node(index).set_user("probe", least);
    }
    let ended = check(&cluster, "probe", "text").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("replicas not watched\n"), "{ended:?}");
    assert_eq!(ended.stdout.matches("Give the user `+readonly`").count(), 1, "{ended:?}");
    assert!(ended.stdout.contains("`--cluster-mode primaries`"), "{ended:?}");
}

#[tokio::test]
async fn maintenance_notices_are_requested_and_a_missing_right_is_named() {
    let lab = Lab::start().await;
    let ended = lab.check([]).run().await;
    assert!(ended.stdout.contains("\n  maintenance                notices not requested\n"), "{ended:?}");
    let profile = Profile { announcing: Announcing::Channel, ..Profile::default() };
    lab.azure.cache().set_profile(profile);
    let ended = lab.check(["--maintenance", "on"]).run().await;
    assert!(ended.stdout.contains("  notices received; none scheduled\n"), "{ended:?}");

    let redis = RedisServer::start(Listen::Plaintext, &[("default", "nopass ~* resetchannels +@all")]).await;
    let check = |output| {
        cachepulse(["check", "--host", "127.0.0.1", "--tls", "false", "--identity", "none"]).args([
            "--port",
            &redis.port().to_string(),
            "--maintenance",
            "on",
            "--output",
            output,
        ])
    };
    let ended = check("text").run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for words in ["  notices denied: NOPERM ", "\n        Give the user `+subscribe`", "`--maintenance off`"]
    {
        assert!(ended.stdout.contains(words), "{words}: {ended:?}");
    }
    let result: serde_json::Value = serde_json::from_str(&check("json").run().await.stdout).unwrap();
    assert_eq!(result["maintenance"]["notices"], "denied");
}
