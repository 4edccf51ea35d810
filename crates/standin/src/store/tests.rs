use std::time::Duration;

use super::*;

/// One client of a store, on a clock that the test moves.
struct TestClient {
    contents: Contents,
    now: Instant,
}

impl TestClient {
    fn new() -> Self {
        let mut contents = Contents::new(Place::Alone, Arc::default());
        contents.clients.insert(101, SocketAddr::from(([127, 0, 0, 1], 5000)));
        Self { contents, now: Instant::now() }
    }

    fn send(&mut self, command: &str) -> String {
        self.send_words(&command.split(' ').collect::<Vec<_>>())
    }

    fn send_words(&mut self, words: &[&str]) -> String {
        let reply = self.contents.execute(101, &Command::new(words), self.now);
        String::from_utf8(reply).unwrap()
    }

    /// Sends each command and asserts its reply.
    fn expect(&mut self, dialogue: &[(&str, &str)]) {
        for (command, reply) in dialogue {
            assert_eq!(self.send(command), *reply, "{command}");
        }
    }
}

#[test]
fn a_value_is_read_back_until_it_expires_or_is_deleted() {
    let mut client = TestClient::new();
    client.expect(&[("GET k", "$-1\r\n"), ("SET k v1 EX 30", "+OK\r\n"), ("GET k", "$2\r\nv1\r\n")]);
    client.now += Duration::from_secs(30);
    client.expect(&[
        ("GET k", "$-1\r\n"),
        ("SET k v2 px 500", "+OK\r\n"),
        ("DEL k other", ":1\r\n"),
        ("GET k", "$-1\r\n"),
    ]);
}

#[test]
fn set_can_depend_on_the_key_return_the_old_value_and_keep_its_expiry() {
    TestClient::new().expect(&[
        ("SET k a XX", "$-1\r\n"),
        ("SET k a NX", "+OK\r\n"),
        ("SET k b NX", "$-1\r\n"),
        ("SET k b NX GET", "$1\r\na\r\n"),
        ("SET k b XX EX 60", "+OK\r\n"),
        ("SET k c GET KEEPTTL", "$1\r\nb\r\n"),
        ("TTL k", ":60\r\n"),
        ("SET k d", "+OK\r\n"),
        ("TTL k", ":-1\r\n"),
        ("GET k", "$1\r\nd\r\n"),
        ("SET new e GET", "$-1\r\n"),
        ("GET new", "$1\r\ne\r\n"),
    ]);
}

#[test]
fn keys_are_counted_typed_and_given_an_expiry() {
    let mut client = TestClient::new();
    client.expect(&[
        ("EXISTS k", ":0\r\n"),
        ("TTL k", ":-2\r\n"),
        ("EXPIRE k 10", ":0\r\n"),
        ("SET k v", "+OK\r\n"),
        ("EXISTS k k other", ":2\r\n"),
        ("TYPE k", "+string\r\n"),
        ("TYPE other", "+none\r\n"),
        ("EXPIRE k 10", ":1\r\n"),
        ("PTTL k", ":10000\r\n"),
        ("DBSIZE", ":1\r\n"),
    ]);
    client.now += Duration::from_millis(500);
    client.expect(&[
        ("PTTL k", ":9500\r\n"),
        ("TTL k", ":10\r\n"),
        ("EXPIRE k -1", ":1\r\n"),
        ("DBSIZE", ":0\r\n"),
    ]);
}

#[test]
fn numbers_count_from_zero_and_keep_their_expiry() {
    TestClient::new().expect(&[
        ("INCR n", ":1\r\n"),
        ("EXPIRE n 60", ":1\r\n"),
        ("INCRBY n 2", ":3\r\n"),
        ("DECR n", ":2\r\n"),
        ("GET n", "$1\r\n2\r\n"),
        ("TTL n", ":60\r\n"),
        ("SET n x", "+OK\r\n"),
        ("INCR n", "-ERR value is not an integer or out of range\r\n"),
        ("SET n 9223372036854775807", "+OK\r\n"),
        ("INCR n", "-ERR increment or decrement would overflow\r\n"),
        ("INCRBY n a", "-ERR value is not an integer or out of range\r\n"),
    ]);
}

#[test]
fn a_transaction_runs_at_exec_or_not_at_all() {
    TestClient::new().expect(&[
        ("EXEC", "-ERR EXEC without MULTI\r\n"),
        ("DISCARD", "-ERR DISCARD without MULTI\r\n"),
        ("MULTI", "+OK\r\n"),
        ("MULTI", "-ERR MULTI calls can not be nested\r\n"),
        ("SET k v", "+QUEUED\r\n"),
        ("INCR k", "+QUEUED\r\n"),
        ("GET k", "+QUEUED\r\n"),
        ("EXEC", "*3\r\n+OK\r\n-ERR value is not an integer or out of range\r\n$1\r\nv\r\n"),
        ("MULTI", "+OK\r\n"),
        ("SET k w", "+QUEUED\r\n"),
        ("DISCARD", "+OK\r\n"),
        ("MULTI", "+OK\r\n"),
        ("SET k w", "+QUEUED\r\n"),
        ("NONSENSE", "-ERR unknown command 'NONSENSE', with args beginning with: \r\n"),
        ("EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"),
        ("GET k", "$1\r\nv\r\n"),
        ("MULTI", "+OK\r\n"),
        ("EXEC", "*0\r\n"),
    ]);
}

#[test]
fn mistakes_get_the_errors_of_redis() {
    TestClient::new().expect(&[
        ("GET", "-ERR wrong number of arguments for 'get' command\r\n"),
        ("PING a b", "-ERR wrong number of arguments for 'ping' command\r\n"),
        ("SET k v EX 0", "-ERR invalid expire time in 'set' command\r\n"),
        ("SET k v EX soon", "-ERR value is not an integer or out of range\r\n"),
        ("SET k v EX", "-ERR syntax error\r\n"),
        ("SET k v NX XX", "-ERR syntax error\r\n"),
        ("SET k v EX 1 PX 1", "-ERR syntax error\r\n"),
        ("SET k v ZZ 1", "-ERR syntax error\r\n"),
        ("EXPIRE k 1 ZZ", "-ERR Unsupported option ZZ\r\n"),
        ("SELECT 1", "-ERR DB index is out of range\r\n"),
        ("SELECT a", "-ERR value is not an integer or out of range\r\n"),
        ("CONFIG GET x", "-ERR unknown command 'CONFIG', with args beginning with: 'GET' 'x' \r\n"),
        ("CLIENT KILL x", "-ERR unknown subcommand 'KILL'. Try CLIENT HELP.\r\n"),
        (
            "CLIENT MAINT_NOTIFICATIONS ON",
            "-ERR unknown subcommand 'MAINT_NOTIFICATIONS'. Try CLIENT HELP.\r\n",
        ),
        ("CLIENT ID 1", "-ERR wrong number of arguments for 'client|id' command\r\n"),
        ("CLIENT LIST ID", "-ERR syntax error\r\n"),
        ("CLIENT SETINFO LIB-OTHER x", "-ERR Unrecognized option 'LIB-OTHER'\r\n"),
        ("HELLO 4", "-NOPROTO unsupported protocol version\r\n"),
    ]);
}

#[test]
fn a_full_store_refuses_new_keys_until_one_expires() {
    let mut client = TestClient::new();
    let value = "x".repeat(keys::MAX_MEMORY / 4);
    let set = |client: &mut TestClient, key| client.send_words(&["SET", key, &value, "EX", "60"]);
    for key in ["1", "2", "3"] {
        assert_eq!(set(&mut client, key), "+OK\r\n");
    }
    assert_eq!(set(&mut client, "4"), "-OOM command not allowed when used memory > 'maxmemory'.\r\n");
    assert_eq!(set(&mut client, "1"), "+OK\r\n");
    client.now += Duration::from_secs(60);
    assert_eq!(set(&mut client, "4"), "+OK\r\n");
    client.expect(&[("DEL 4", ":1\r\n")]);
    assert_eq!(lock(&client.contents.keys).used_memory(), 0);
}

#[test]
fn the_client_list_shows_id_name_user_and_library() {
    let mut client = TestClient::new();
    client.expect(&[
        ("AUTH oid-1 secret", "+OK\r\n"),
        ("CLIENT GETNAME", "$-1\r\n"),
        ("CLIENT SETNAME cachepulse", "+OK\r\n"),
        ("CLIENT GETNAME", "$10\r\ncachepulse\r\n"),
        ("CLIENT SETINFO LIB-NAME go-redis(,go1.22.5)", "+OK\r\n"),
        ("CLIENT SETINFO lib-ver 9.7.0", "+OK\r\n"),
        ("CLIENT NO-EVICT on", "+OK\r\n"),
        ("CLIENT ID", ":101\r\n"),
    ]);
    let list = client.send("CLIENT LIST");
    let (others, own) = (client.send("CLIENT LIST ID 17 18"), client.send("CLIENT INFO"));
    assert!(list.contains("id=101 addr=127.0.0.1:5000 ") && list.contains(" name=orders-api "), "{list}");
    assert!(others.contains("id=17 ") && !others.contains("id=101 "), "{others}");
    assert!(own.contains(" name=cachepulse ") && own.contains(" user=oid-1 "), "{own}");
    assert!(own.ends_with(" lib-name=go-redis(,go1.22.5) lib-ver=9.7.0\n\r\n"), "{own}");
    assert!(!list.contains("secret"), "{list}");
    assert_eq!(client.send("CLIENT LIST TYPE pubsub"), "$0\r\n\r\n");
}

#[test]
fn replies_are_resp3_from_hello_3_to_hello_2() {
    let mut client = TestClient::new();
    let hello = client.send("HELLO 3 SETNAME app");
    assert!(hello.starts_with("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n"), "{hello}");
    assert!(hello.contains("$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:101\r\n"), "{hello}");
    assert!(client.send("CLIENT INFO").starts_with('='));
    assert!(client.send("CLIENT LIST").contains("\r\ntxt:id="));
    assert!(client.send("INFO server").contains("\r\ntxt:# Server\r\nredis_version:"));
    client.expect(&[
        ("GET nothing", "_\r\n"),
        ("CLIENT GETNAME", "$3\r\napp\r\n"),
        ("COMMAND DOCS", "%0\r\n"),
    ]);
    assert!(client.send("HELLO 2").starts_with("*14\r\n"));
    client.expect(&[("GET nothing", "$-1\r\n"), ("COMMAND DOCS", "*0\r\n")]);
}

#[test]
fn info_reports_the_requested_sections() {
    let mut client = TestClient::new();
    client.send("SET k v EX 10");
    let all = client.send("INFO");
    for part in ["# Server\r\n", "connected_clients:4\r\n", "role:master\r\n", "db0:keys=1,expires=1,"] {
        assert!(all.contains(part), "{part} is missing: {all}");
    }
    assert_eq!(client.send("INFO everything"), all.replace("processed:2", "processed:3"));
    let some = client.send("INFO clients Replication");
    assert!(
        some.contains("# Clients") && some.contains("# Replication") && !some.contains("# Server"),
        "{some}"
    );
}

#[test]
fn every_command_of_the_table_runs_with_the_fewest_arguments() {
    // QUIT ends the connection; the front does that.
    for spec in commands::COMMANDS.iter().filter(|spec| spec.name != "quit") {
        let mut words = vec![spec.name];
        words.resize(usize::try_from(spec.arity.unsigned_abs()).unwrap(), "0");
        let reply = TestClient::new().send_words(&words);
        assert!(!reply.contains("unknown command") && !reply.contains("arguments"), "{words:?}: {reply}");
    }
    let get = "*10\r\n$3\r\nget\r\n:2\r\n*0\r\n:1\r\n:1\r\n:1\r\n*0\r\n*0\r\n*0\r\n*0\r\n";
    TestClient::new().expect(&[("COMMAND INFO get nothing", &format!("*2\r\n{get}$-1\r\n"))]);
}

#[tokio::test]
async fn a_client_is_listed_while_it_is_connected() {
    let store = Store::new(Place::Alone, Arc::default());
    let others = store.contents().clients.len();
    let (mut client, server) = tokio::io::duplex(1024);
    let address = SocketAddr::from(([127, 0, 0, 1], 5000));
    let serving = tokio::spawn(store.clone().serve(server, FIRST_CLIENT, address));
    client.write_all(&Command::new(&["PING"]).encode()).await.unwrap();
    let mut pong = [0; 7];
    tokio::io::AsyncReadExt::read_exact(&mut client, &mut pong).await.unwrap();
    assert_eq!(store.contents().clients.len(), others + 1);
    drop(client);
    serving.await.unwrap().unwrap();
    assert_eq!(store.contents().clients.len(), others);
}
