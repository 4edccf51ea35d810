//! The steps of a probe: what each answer of the server means.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_the_cache_forbids_is_denied_and_only_fails_the_probe_where_it_is_required() {
    let forbidden = "-NOPERM this user has no permissions to run the 'client' command\r\n";
    for (mode, failures) in
        [(ClientListMode::Optional, 0.0), (ClientListMode::Required, 1.0), (ClientListMode::Off, 0.0)]
    {
        let cache = Cache::default();
        cache.can("CLIENT LIST", forbidden);
        let client_list = ClientListOf { mode, every: None };
        let running = start(&cache, Target { client_list, ..target() });
        sleep(SECOND).await;
        assert_eq!(running.failures("permission_denied"), failures, "{mode:?}");
        let denied = running.value(r#"step_results_total{result="denied",step="client_list",target="t"}"#);
        assert_eq!(denied, if mode == ClientListMode::Off { 0.0 } else { 1.0 }, "{mode:?}");
    }
    let cache = Cache::default();
    cache.can("SET", forbidden);
    let running = start(&cache, target());
    sleep(SECOND).await;
    assert_eq!(running.failures("permission_denied"), 1.0);
}

#[tokio::test(start_paused = true)]
async fn client_list_runs_in_every_nth_probe() {
    let cache = Cache::default();
    let every = NonZeroU32::new(3);
    let client_list = ClientListOf { mode: ClientListMode::Optional, every };
    let _running = start(&cache, Target { client_list, ..target() });
    sleep(65 * SECOND).await;
    assert_eq!((cache.count("SET"), cache.count("CLIENT LIST")), (7, 3));
}

#[tokio::test(start_paused = true)]
async fn a_value_that_does_not_come_back_fails_at_once_and_is_not_retried() {
    let cache = Cache::default();
    cache.can("GET", "$5\r\nother\r\n");
    let running = start(&cache, target());
    sleep(SECOND).await;
    assert_eq!(running.failures("value_mismatch"), 1.0);
    let report = running.status.document();
    assert_eq!(report.targets[0].recent[0].attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn each_condition_of_the_server_has_its_reason() {
    for (command, reply, reason) in [
        ("PING", "-LOADING Redis is loading the dataset in memory\r\n", "loading"),
        ("SET", "-OOM command not allowed when used memory > 'maxmemory'.\r\n", "out_of_memory"),
        ("SET", "-READONLY You can't write against a read only replica.\r\n", "read_only"),
        ("GET", "-CLUSTERDOWN The cluster is down\r\n", "cluster_down"),
        ("PING", "-ERR unknown command 'PING'\r\n", "server_error"),
        ("GET", "$-1\r\n", "value_mismatch"),
        ("GET", "$99999\r\n", "reply_too_large"),
        ("PING", "HTTP/1.1 400 Bad Request\r\n", "protocol_error"),
        ("PING", "-NOAUTH Authentication required.\r\n", "auth_rejected"),
        ("SET", "", "command_timeout"),
    ] {
        let cache = Cache::default();
        cache.can(command, reply);
        let running = start(&cache, target());
        sleep(9 * SECOND).await;
        assert_eq!(running.failures(reason), 1.0, "{command} {reply:?}");
        assert_eq!(running.all_failures(), 1.0, "{command} {reply:?}");
        cache.with(|state| state.canned.clear());
        sleep(2 * SECOND).await;
        assert!(running.is_up(), "{command} {reply:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_target_without_tokens_is_never_told_of_policies() {
    let cache = Cache::default();
    cache.can("SET", "-NOAUTH Authentication required.\r\n");
    let running = start(&cache, target());
    sleep(SECOND).await;
    let document = running.status.document();
    let failure = document.targets[0].failures[0].failure.as_ref().unwrap();
    assert_eq!(failure.reason, FailureReason::AuthRejected);
    assert!(!failure.advice.contains("policy"), "{}", failure.advice);
}

#[tokio::test(start_paused = true)]
async fn nothing_about_an_optional_client_list_fails_a_probe() {
    for (reply, result, lost) in [
        ("-ERR unknown command 'CLIENT', with args beginning with: 'LIST' \r\n", "unsupported", 0.0),
        ("-NOPERM this user has no permissions to run the 'client' command\r\n", "denied", 0.0),
        ("+OK\r\n", "failure", 0.0),
        ("*1\r\n+OK\r\n", "failure", 0.0),
        ("$9999\r\nid=1", "failure", 3.0),
        ("$2\r\nxxxx", "failure", 3.0),
    ] {
        let cache = Cache::default();
        cache.can("CLIENT LIST", reply);
        let running = start(&cache, target());
        sleep(25 * SECOND).await;
        let results = running
            .value(&format!(r#"step_results_total{{result="{result}",step="client_list",target="t"}}"#));
        assert_eq!((running.probes(), results), (3.0, 3.0), "{reply:?}");
        assert_eq!((running.all_failures(), running.unavailable()), (0.0, 0.0), "{reply:?}");
        let disconnects = ["command_timeout", "protocol_error"].map(|reason| running.disconnects(reason));
        assert_eq!(disconnects.iter().sum::<f64>(), lost, "{reply:?}");
    }
}
