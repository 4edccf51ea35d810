//! The features of Azure's quickstart scripts for Python: sign in with Entra or an access key, run PING, SET, GET and
//! CLIENT LIST, renew the token on the open connection, and reconnect after a loss.

use std::time::Duration;

use cachepulse_standin::{Ending, Secret};

use crate::lab::Lab;
use crate::program::{Ended, eventually};

/// Returns the lines of a result without the times.
fn lines(ended: &Ended) -> Vec<String> {
    let untimed = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_time = |at: usize| words.get(at) == Some(&"ms") || words.get(at + 1) == Some(&"ms");
        let kept = (0..words.len()).filter(|&at| !is_time(at)).map(|at| words[at]);
        kept.collect::<Vec<_>>().join(" ")
    };
    ended.stdout.lines().map(untimed).collect()
}

#[tokio::test]
async fn check_shows_the_sign_in_with_entra_and_the_four_commands() {
    let lab = Lab::start().await;
    let mut other = lab.redis.admin().unwrap();
    let other_id: u64 = redis::cmd("CLIENT").arg("ID").query(&mut other).unwrap();
    let ended = lab.check([]).run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stderr, "");
    let mut printed = lines(&ended);
    assert_eq!(printed[0], format!("localhost localhost:{}", lab.azure.cache_port()));
    assert_eq!(printed[1], "token auto, valid for 59 min");
    assert_eq!(printed.remove(2), "auto chose managed_identity: this host is App Service");
    assert!(printed[2].starts_with("not client_secret: "), "{printed:?}");
    printed.retain(|line| !line.starts_with("not "));
    assert_eq!(printed[2], "resolve 127.0.0.1");
    assert_eq!(printed[3], format!("connect 127.0.0.1:{}", lab.azure.cache_port()));
    assert_eq!(printed[4], "tls TLS 1.3, certificate valid for 364 days");
    assert_eq!(
        printed[5..8],
        ["subject : CN=cachepulse stand-in", "names : localhost", "issuer : CN=cachepulse stand-in CA"]
    );
    assert!(printed[8].starts_with("expires : 20") && printed[8].ends_with('Z'), "{printed:?}");
    assert_eq!(printed[9], format!("auth as {}", lab.azure.object_id()));
    assert_eq!(
        printed[10..14],
        ["PING PONG", "SET OK", "GET the value that was set", "CLIENT LIST 2 clients"]
    );
    let (first, second) = (&printed[14], &printed[15]);
    assert!(first.starts_with(&format!("id : {other_id}, addr : ")), "{printed:?}");
    assert!(second.starts_with("id : ") && second.contains(", addr : "), "{printed:?}");
    let server = &printed[16];
    assert!(server.starts_with("server ") && server.ends_with(", standalone, primary"), "{printed:?}");
    assert_eq!(printed[17], "maintenance notices not requested");
    assert!(printed[18].starts_with("success in"), "{printed:?}");
    assert_eq!(printed.len(), 19, "{printed:?}");
}

#[tokio::test]
async fn check_returns_the_same_as_json() {
    let lab = Lab::start().await;
    let ended = lab.check(["--output", "json", "--name", "orders"]).run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), 1, "one object on one line");
    let result: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(result["target"], "orders");
    assert_eq!(result["endpoint"], format!("localhost:{}", lab.azure.cache_port()));
    assert_eq!(result["result"], "success");
    assert_eq!(result["attempts"], 1);
    assert!(result["duration_seconds"].as_f64().unwrap() > 0.0);
    let connection = &result["connection"];
    assert_eq!(connection["address"], format!("127.0.0.1:{}", lab.azure.cache_port()));
    assert_eq!(connection["tls_version"], "1.3");
    assert_eq!(connection["username"], lab.azure.object_id());
    assert_eq!(connection["addresses"], serde_json::json!(["127.0.0.1"]));
    assert_eq!(connection["tried"], serde_json::json!([{"address": connection["address"]}]));
    let (token, certificate) = (&connection["token"], &connection["certificate"]);
    assert_eq!((&token["identity"], &token["object_id"]), (&"auto".into(), &connection["username"]));
    assert!(token["duration_seconds"].as_f64() > Some(0.0), "{result}");
    assert_eq!(certificate["subject"], "CN=cachepulse stand-in");
    assert_eq!(certificate["names"], serde_json::json!(["localhost"]));
    assert_eq!(certificate["issuer"], "CN=cachepulse stand-in CA");
    // Times in the same format and time zone can be compared as text.
    let times =
        [&result["time"], &token["token_expiry"], &certificate["expiry"]].map(|time| time.as_str().unwrap());
    assert!(
        times.is_sorted() && times.iter().all(|time| time.len() == 24 && time.ends_with('Z')),
        "{times:?}"
    );
    let all = |list: &str, name: &str| -> Vec<String> {
        let entries = result[list].as_array().unwrap();
        assert!(entries.iter().all(|entry| entry["duration_seconds"].as_f64().unwrap() > 0.0), "{result}");
        entries.iter().map(|entry| entry[name].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(all("phases", "phase"), ["token", "resolve", "connect", "tls", "auth"]);
    assert_eq!(all("steps", "step"), ["ping", "set", "get", "client_list"]);
    assert_eq!(all("steps", "result"), ["success"; 4]);
    assert_eq!(result["clients"]["count"], 1);
    assert_eq!(result["clients"]["own_seen"], true);
    assert!(result["clients"]["list"][0]["id"].is_u64() && result["clients"]["list"][0]["addr"].is_string());
    assert_eq!(result.get("failure"), None);
}

#[tokio::test]
async fn tokens_are_renewed_on_the_open_connection_and_a_lost_one_is_reopened() {
    let lab = Lab::with_tokens_of(Duration::from_secs(8)).await;
    let user = lab.azure.object_id();
    let client_id = lab.azure.client_id();
    let signed_in = ["--identity", "managed_identity", "--client-id", client_id];
    let agent = lab.run(signed_in).args(["--interval", "1s"]).serve().await;
    let first = agent.until("the first probe succeeds", |scrape| scrape.is_up("orders")).await;
    let client = lab.redis.agent(user);

    let renewed = "three renewals on the open connection";
    let reauthenticated =
        agent.until(renewed, |it| it.count_of("reauthentications_total", "result", "success", "orders") >= 3);
    let scrape = reauthenticated.await;
    assert_eq!(lab.redis.agent(user), client, "the server lists the same connection");
    let connects = first.connects("success", "orders");
    assert_eq!(scrape.connects("success", "orders"), connects);
    assert_eq!(scrape.connects("failure", "orders"), first.connects("failure", "orders"));
    assert_eq!(scrape.count_of("reauthentications_total", "result", "failure", "orders"), 0);
    for counter in ["disconnects_total", "probe_failures_total"] {
        assert_eq!(scrape.sum(counter, "orders"), first.sum(counter, "orders"), "{counter}");
    }
    let label = format!("managed_identity:{client_id}");
    let refreshes = format!("token_refreshes_total{{identity=\"{label}\",result=\"success\"}}");
    assert!(scrape.value(&refreshes) >= 4.0);
    assert_eq!(lab.azure.cache().counters().expired, 0, "the cache never had to end the session");

    lab.redis.ask::<()>(&["CLIENT", "KILL", "ID", &client.id.to_string()]);
    let scrape = agent.until("it is reopened", |it| it.connects("success", "orders") > connects).await;
    assert_eq!(scrape.disconnects("closed", "orders"), first.disconnects("closed", "orders") + 1);
    let probes = scrape.count("probes_total", "orders");
    agent
        .until("probes go on", |it| it.is_up("orders") && it.count("probes_total", "orders") > probes + 1)
        .await;
    assert_ne!(lab.redis.agent(user).id, client.id);
}

#[tokio::test]
async fn check_shows_the_sign_in_with_an_access_key_and_the_four_commands() {
    let lab = Lab::start().await;
    let key_file = lab.access_key_file();
    let with_key = ["--identity", "access_key", "--access-key-file", key_file.to_str().unwrap()];
    let ended = lab.check(with_key).run().await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let printed = lines(&ended);
    assert_eq!(
        printed[9..14],
        ["auth as default", "PING PONG", "SET OK", "GET the value that was set", "CLIENT LIST 1 client"]
    );
    assert_eq!(lab.azure.endpoint().requests(), [], "no token was requested");
}

#[tokio::test]
async fn a_rotated_access_key_is_reread_without_a_restart() {
    let lab = Lab::start().await;
    let key_file = lab.access_key_file();
    let with_key = ["--identity", "access_key", "--access-key-file", key_file.to_str().unwrap()];
    let agent = lab.run(with_key).args(["--interval", "200ms"]).serve().await;
    agent.until("the first probe succeeds", |scrape| scrape.is_up("orders")).await;

    let rotated = Secret::new("rotated-key".to_owned());
    lab.azure.cache().set_access_keys(vec![rotated.clone()]);
    lab.azure.cache().close_all(Ending::Close);
    agent.until("the old key is refused", |scrape| scrape.failures("auth_rejected", "orders") > 0).await;
    lab.file("access-key", &format!("{}\n", rotated.expose()));
    agent.until("the new key is accepted", |scrape| scrape.is_up("orders")).await;
    eventually("one connection stays", || lab.redis.clients().len() == 1).await;
    assert_eq!(lab.redis.agent("default").name, "cachepulse");
}
