//! Tests of the cache front with a raw client over TLS. The tests of the agent have a real redis-server behind it.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::*;
use crate::frame::{Command, read_reply};

/// Far longer than any step takes.
const LONG: Duration = Duration::from_secs(20);
/// Long enough to observe that there is no reply.
const SHORT: Duration = Duration::from_millis(200);

const PONG: &str = "+PONG\r\n";

pub(super) struct Client(BufReader<TlsStream<TcpStream>>);

impl Client {
    async fn connect(lab: &Standin) -> io::Result<Self> {
        Self::connect_to(lab, lab.cache_port()).await
    }

    pub(super) async fn connect_to(lab: &Standin, port: u16) -> io::Result<Self> {
        let tcp = TcpStream::connect(("127.0.0.1", port)).await?;
        let stream = timeout(LONG, handshake(&lab.ca_pem(), HOST, tcp)).await??;
        Ok(Self(BufReader::new(stream)))
    }

    /// Connected, and signed in with a token that is valid for `seconds`.
    async fn signed_in(lab: &Standin, seconds: u64) -> Self {
        let mut client = Self::connect(lab).await.unwrap();
        assert_eq!(client.sign_in(lab, seconds).await, "+OK\r\n");
        client
    }

    pub(super) async fn sign_in(&mut self, lab: &Standin, seconds: u64) -> String {
        let token = lab.token(Duration::from_secs(seconds)).unwrap();
        self.ask(&["AUTH", lab.object_id(), token.secret.expose()]).await.unwrap()
    }

    pub(super) async fn ask(&mut self, words: &[&str]) -> io::Result<String> {
        self.0.write_all(&Command::new(words).encode()).await?;
        let reply = timeout(LONG, read_reply(&mut self.0)).await??;
        String::from_utf8(reply).map_err(io::Error::other)
    }

    async fn id(&mut self) -> String {
        self.ask(&["CLIENT", "ID"]).await.unwrap()
    }

    /// How the server ends the connection.
    pub(super) async fn end(&mut self) -> io::ErrorKind {
        let mut byte = [0];
        match timeout(LONG, self.0.read(&mut byte)).await.unwrap() {
            Ok(0) => panic!("it ended with a TLS alert"),
            Ok(_) => panic!("it did not end: {byte:?}"),
            Err(error) => error.kind(),
        }
    }
}

async fn lab() -> (Standin, Arc<Mutex<Vec<Event>>>) {
    let (events, recorded) = recorder();
    (Standin::start(Options { events, ..Options::default() }).await.unwrap(), recorded)
}

#[tokio::test]
async fn a_client_with_a_token_may_use_the_cache() {
    let (lab, events) = lab().await;
    let mut client = Client::connect(&lab).await.unwrap();
    assert_eq!(client.ask(&["PING"]).await.unwrap(), "-NOAUTH Authentication required.\r\n");
    assert!(client.ask(&["HELLO", "3"]).await.unwrap().starts_with("-NOAUTH HELLO must be called"));
    assert_eq!(client.sign_in(&lab, 60).await, "+OK\r\n");
    assert_eq!(client.ask(&["PING"]).await.unwrap(), PONG);
    assert_eq!(client.ask(&["SET", "k", "v", "EX", "30"]).await.unwrap(), "+OK\r\n");
    assert_eq!(client.ask(&["GET", "k"]).await.unwrap(), "$1\r\nv\r\n");
    let list = client.ask(&["CLIENT", "LIST"]).await.unwrap();
    assert!(list.contains(&format!(" user={} ", lab.object_id())), "{list}");
    assert!(list.contains(" name=orders-api "), "{list}");
    assert_eq!(client.ask(&["QUIT"]).await.unwrap(), "+OK\r\n");
    assert_eq!(client.end().await, io::ErrorKind::UnexpectedEof);
    assert!(matches!(events.lock().unwrap()[..], [Event::SignedIn { client: 101, expires_in: Some(_) }]));
}

#[tokio::test]
async fn a_rejected_sign_in_has_the_chosen_error_and_leaves_the_old_session() {
    let (lab, events) = lab().await;
    let mut client = Client::signed_in(&lab, 60).await;
    let good = lab.token(Duration::from_secs(60)).unwrap().secret;
    let expired = lab.token(Duration::ZERO).unwrap().secret;
    let federated = lab.federated_token(Duration::from_secs(60)).unwrap();
    let rejected = "-ERR WRONGPASS invalid username-password pair\r\n";
    for (user, secret) in [
        (lab.object_id(), "guess"),
        (lab.object_id(), expired.expose()),
        (lab.object_id(), federated.expose()),
        (lab.client_id(), good.expose()),
        ("default", good.expose()),
    ] {
        assert_eq!(client.ask(&["AUTH", user, secret]).await.unwrap(), rejected);
        assert_eq!(client.ask(&["PING"]).await.unwrap(), PONG);
    }
    lab.cache().set_profile(Profile { dialect: Dialect::ManagedRedis, ..Profile::default() });
    assert_eq!(
        client.ask(&["AUTH", "guess"]).await.unwrap(),
        "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
    );
    let counters = lab.cache().counters();
    assert_eq!((counters.accepted, counters.rejected), (1, 6));
    let rejections: Vec<Rejection> = events
        .lock()
        .unwrap()
        .iter()
        .filter_map(|event| match event {
            Event::Rejected { rejection, .. } => Some(*rejection),
            _ => None,
        })
        .collect();
    let expected = [
        Rejection::Malformed,
        Rejection::Expired,
        Rejection::Audience,
        Rejection::User,
        Rejection::AccessKey,
        Rejection::AccessKey,
    ];
    assert_eq!(rejections, expected);
}

#[tokio::test]
async fn the_access_key_signs_in_with_and_without_its_user() {
    let (lab, _) = lab().await;
    let key = lab.access_key().expose().to_owned();
    for words in
        [vec!["AUTH", &key], vec!["AUTH", "default", &key], vec!["HELLO", "2", "AUTH", "default", &key]]
    {
        let mut client = Client::connect(&lab).await.unwrap();
        assert!(!client.ask(&words).await.unwrap().starts_with('-'));
        assert_eq!(client.ask(&["PING"]).await.unwrap(), PONG);
    }
}

#[tokio::test]
async fn hello_signs_in_names_the_connection_and_switches_to_resp3_in_one_command() {
    let (lab, _) = lab().await;
    let token = lab.token(Duration::from_secs(60)).unwrap();
    let mut client = Client::connect(&lab).await.unwrap();
    let hello = ["HELLO", "3", "AUTH", lab.object_id(), token.secret.expose(), "SETNAME", "cachepulse"];
    assert!(client.ask(&hello).await.unwrap().starts_with("%7\r\n"));
    let own = client.ask(&["CLIENT", "INFO"]).await.unwrap();
    assert!(own.starts_with('=') && own.contains(" name=cachepulse "), "{own}");
    assert!(own.contains(&format!(" user={} ", lab.object_id())) && own.contains(" resp=3 "), "{own}");
    assert_eq!(client.ask(&["GET", "nothing"]).await.unwrap(), "_\r\n");
    let id = client.id().await;
    assert!(client.ask(&hello).await.unwrap().starts_with("%7\r\n"), "it re-authenticates a session, too");
    assert!(client.ask(&["HELLO", "3"]).await.unwrap().contains("\r\nmaster\r\n"));
    assert_eq!(client.id().await, id);
    assert_eq!(lab.cache().counters().accepted, 2);
}

#[tokio::test]
async fn a_hello_that_fails_changes_nothing() {
    let (lab, _) = lab().await;
    let token = lab.token(Duration::from_secs(60)).unwrap();
    let (user, secret) = (lab.object_id(), token.secret.expose());
    let failures = [
        (vec!["HELLO", "3", "AUTH", user, "guess"], "-ERR WRONGPASS invalid username-password pair\r\n"),
        (vec!["HELLO", "4", "AUTH", user, secret], "-NOPROTO unsupported protocol version\r\n"),
        (vec!["HELLO", "3", "AUTH", user], "-ERR Syntax error in HELLO option 'AUTH'\r\n"),
        (
            vec!["HELLO", "3", "AUTH", user, secret, "SETNAME", "a b"],
            "-ERR Client names cannot contain spaces, newlines or special characters.\r\n",
        ),
    ];
    let mut stranger = Client::connect(&lab).await.unwrap();
    let mut client = Client::signed_in(&lab, 60).await;
    for (words, error) in &failures {
        assert_eq!(stranger.ask(words).await.unwrap(), *error);
        assert_eq!(stranger.ask(&["PING"]).await.unwrap(), "-NOAUTH Authentication required.\r\n");
        assert_eq!(client.ask(words).await.unwrap(), *error);
        assert_eq!(client.ask(&["GET", "nothing"]).await.unwrap(), "$-1\r\n");
    }
}

#[tokio::test]
async fn the_first_commands_of_go_redis_get_replies_that_it_accepts() {
    let (lab, _) = lab().await;
    let mut client = Client::connect(&lab).await.unwrap();
    let hello = ["hello", "3", "auth", "default", lab.access_key().expose()];
    assert!(client.ask(&hello).await.unwrap().starts_with("%7\r\n"));
    // One pipeline: it ignores errors of the maintenance notifications, and of nothing else.
    let pipeline: [&[&str]; 6] = [
        &["client", "maint_notifications", "on", "moving-endpoint-type", "none"],
        &["client", "setname", "orders"],
        &["client", "setinfo", "LIB-NAME", "go-redis(,go1.24.1)"],
        &["client", "setinfo", "LIB-VER", "9.17.0"],
        &["select", "0"],
        &["get", "nothing"],
    ];
    let bytes: Vec<u8> = pipeline.iter().flat_map(|words| Command::new(words).encode()).collect();
    client.0.write_all(&bytes).await.unwrap();
    let unknown = "-ERR unknown subcommand 'maint_notifications'. Try CLIENT HELP.\r\n";
    for expected in [unknown, "+OK\r\n", "+OK\r\n", "+OK\r\n", "+OK\r\n", "_\r\n"] {
        let reply = timeout(LONG, read_reply(&mut client.0)).await.unwrap().unwrap();
        assert_eq!(String::from_utf8(reply).unwrap(), expected);
    }
}

#[tokio::test]
async fn a_value_of_a_megabyte_is_refused_and_the_session_continues() {
    let (lab, _) = lab().await;
    let mut client = Client::signed_in(&lab, 60).await;
    let value = "x".repeat(1024 * 1024);
    let error = client.ask(&["SET", "k", &value]).await.unwrap();
    assert_eq!(error, "-ERR string exceeds maximum allowed size (proto-max-bulk-len)\r\n");
    assert_eq!(client.ask(&["PING"]).await.unwrap(), PONG);
}

#[tokio::test]
async fn without_tls_the_access_key_opens_a_session_and_a_token_does_not() {
    let lab = Standin::start(Options { tls: false, ..Options::default() }).await.unwrap();
    let stream = TcpStream::connect(("127.0.0.1", lab.cache_port())).await.unwrap();
    let mut stream = BufReader::new(stream);
    let token = lab.token(Duration::from_secs(60)).unwrap();
    for (auth, reply) in [
        (vec!["AUTH", lab.object_id(), token.secret.expose()], "-ERR WRONGPASS"),
        (vec!["AUTH", lab.access_key().expose()], "+OK"),
    ] {
        stream.write_all(&Command::new(&auth).encode()).await.unwrap();
        assert!(read_reply(&mut stream).await.unwrap().starts_with(reply.as_bytes()));
    }
}

#[tokio::test]
async fn a_session_ends_silently_with_its_token_and_a_newer_token_extends_it() {
    let (lab, events) = lab().await;
    // Times in a token are whole seconds, so these are valid for two to three.
    let before = Instant::now();
    let mut kept = Client::signed_in(&lab, 3).await;
    let mut left = Client::signed_in(&lab, 3).await;
    let id = kept.id().await;
    assert_eq!(kept.sign_in(&lab, 60).await, "+OK\r\n");
    assert_eq!(left.end().await, io::ErrorKind::UnexpectedEof);
    assert!(before.elapsed() >= Duration::from_secs(2), "{:?}", before.elapsed());
    assert_eq!(kept.id().await, id);
    assert_eq!(lab.cache().counters().expired, 1);
    let events = events.lock().unwrap();
    assert!(events.contains(&Event::Expired { client: 102 }), "{events:?}");
    assert!(matches!(events[2], Event::Reauthenticated { client: 101, .. }), "{events:?}");
}

#[tokio::test]
async fn the_end_of_a_session_can_come_late_early_or_as_a_reset() {
    let (lab, _) = lab().await;
    let (kill_delay, kill_ahead) = (Duration::from_secs(60), Duration::from_secs(60));
    lab.cache().set_profile(Profile { kill_delay, ..Profile::default() });
    let mut client = Client::signed_in(&lab, 3).await;
    tokio::time::sleep(Duration::from_millis(3_100)).await;
    assert_eq!(client.ask(&["PING"]).await.unwrap(), PONG);
    lab.cache().set_profile(Profile { kill_by: Ending::Reset, ..Profile::default() });
    assert_eq!(client.end().await, io::ErrorKind::ConnectionReset);
    lab.cache().set_profile(Profile { kill_ahead, ..Profile::default() });
    assert_eq!(Client::signed_in(&lab, 60).await.end().await, io::ErrorKind::UnexpectedEof);
    assert_eq!(lab.cache().counters().expired, 2);
}

#[tokio::test]
async fn a_revoked_user_is_disconnected_and_may_sign_in_after_a_new_grant() {
    let (lab, _) = lab().await;
    let mut client = Client::signed_in(&lab, 60).await;
    let mut with_key = Client::connect(&lab).await.unwrap();
    with_key.ask(&["AUTH", lab.access_key().expose()]).await.unwrap();
    lab.cache().revoke(lab.object_id());
    assert_eq!(client.end().await, io::ErrorKind::UnexpectedEof);
    assert_eq!(with_key.ask(&["PING"]).await.unwrap(), PONG);
    let mut again = Client::connect(&lab).await.unwrap();
    assert!(again.sign_in(&lab, 60).await.starts_with("-ERR WRONGPASS"));
    lab.cache().grant(lab.object_id());
    assert_eq!(again.sign_in(&lab, 60).await, "+OK\r\n");
}

#[tokio::test]
async fn a_refusing_cache_keeps_its_port_and_its_old_connections() {
    let (lab, _) = lab().await;
    let mut old = Client::signed_in(&lab, 60).await;
    for _ in 0..3 {
        lab.cache().faults(|faults| faults.admission = Admission::Refuse);
        // The listener is closed by its own task, in a moment.
        let refused = async |port| match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(_) => false,
            Err(error) => error.kind() == io::ErrorKind::ConnectionRefused,
        };
        while !refused(lab.cache_port()).await {
            tokio::task::yield_now().await;
        }
        assert_eq!(old.ask(&["PING"]).await.unwrap(), PONG);
        lab.cache().heal();
        while TcpStream::connect(("127.0.0.1", lab.cache_port())).await.is_err() {
            tokio::task::yield_now().await;
        }
        Client::signed_in(&lab, 60).await;
    }
}

#[tokio::test]
async fn new_connections_can_hang_be_closed_or_be_too_many() {
    let (lab, _) = lab().await;
    lab.cache().faults(|faults| faults.admission = Admission::Hang);
    assert!(timeout(SHORT, Client::connect(&lab)).await.is_err());
    for (ending, kind) in
        [(Ending::Close, io::ErrorKind::UnexpectedEof), (Ending::Reset, io::ErrorKind::ConnectionReset)]
    {
        lab.cache().faults(|faults| faults.admission = Admission::HangUp(ending));
        let error = Client::connect(&lab).await.err().unwrap();
        assert!(error.kind() == kind || error.kind() == io::ErrorKind::BrokenPipe, "{error:?}");
    }
    lab.cache().faults(|faults| faults.admission = Admission::TooManyClients);
    let mut client = Client::connect(&lab).await.unwrap();
    let words = timeout(LONG, read_reply(&mut client.0)).await.unwrap().unwrap();
    assert_eq!(words, b"-ERR max number of clients reached\r\n");
    assert_eq!(client.end().await, io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn all_connections_can_be_closed_or_reset_at_once() {
    let (lab, _) = lab().await;
    for (ending, kind) in
        [(Ending::Close, io::ErrorKind::UnexpectedEof), (Ending::Reset, io::ErrorKind::ConnectionReset)]
    {
        let (mut one, mut other) = (Client::signed_in(&lab, 60).await, Client::signed_in(&lab, 60).await);
        lab.cache().close_all(ending);
        assert_eq!((one.end().await, other.end().await), (kind, kind));
    }
    Client::signed_in(&lab, 60).await;
}

#[tokio::test]
async fn a_black_hole_suspends_connections_without_closing_them() {
    let (lab, _) = lab().await;
    let mut client = Client::signed_in(&lab, 60).await;
    lab.cache().faults(|faults| faults.black_hole = true);
    assert!(timeout(SHORT, client.ask(&["PING"])).await.is_err());
    assert!(timeout(SHORT, Client::connect(&lab)).await.is_err());
    lab.cache().heal();
    assert_eq!(timeout(LONG, read_reply(&mut client.0)).await.unwrap().unwrap(), PONG.as_bytes());
}

#[tokio::test]
async fn replies_can_be_slow_missing_truncated_endless_or_anything() {
    let (lab, _) = lab().await;
    let mut client = Client::signed_in(&lab, 60).await;
    lab.cache().faults(|faults| {
        faults.latency = Duration::from_millis(50);
        faults.commands = vec![
            CommandFault::delayed("GET", SHORT),
            CommandFault::replied(
                "SET",
                FaultReply::error("READONLY You can't write against a read only replica."),
            ),
            CommandFault::replied("CLIENT LIST", FaultReply::Raw(b"$3\r\na\nb\r\n".to_vec())),
            CommandFault::replied("ECHO", FaultReply::Raw(b"HTTP/1.1 400 Bad Request\r\n".to_vec())).times(1),
        ];
    });
    let started = Instant::now();
    assert_eq!(client.ask(&["PING"]).await.unwrap(), PONG);
    assert!(started.elapsed() >= Duration::from_millis(50));
    let started = Instant::now();
    assert_eq!(client.ask(&["GET", "k"]).await.unwrap(), "$-1\r\n");
    assert!(started.elapsed() >= SHORT + Duration::from_millis(50));
    let words = client.ask(&["SET", "k", "v"]).await.unwrap();
    assert_eq!(words, "-READONLY You can't write against a read only replica.\r\n");
    assert_eq!(client.ask(&["CLIENT", "LIST"]).await.unwrap(), "$3\r\na\nb\r\n");
    assert!(client.ask(&["ECHO", "x"]).await.is_err());
    assert_eq!(client.ask(&["ECHO", "x"]).await.unwrap(), "$1\r\nx\r\n");

    let answer = |answer| {
        lab.cache().faults(|faults| {
            *faults =
                Faults { commands: vec![CommandFault::replied("GET", answer).times(1)], ..Faults::default() };
        });
    };
    answer(FaultReply::Silence);
    assert!(timeout(SHORT, client.ask(&["GET", "k"])).await.is_err());
    for (ending, kind) in
        [(Ending::Close, io::ErrorKind::UnexpectedEof), (Ending::Reset, io::ErrorKind::ConnectionReset)]
    {
        let mut client = Client::signed_in(&lab, 60).await;
        answer(FaultReply::Cut(b"$5\r\nhe".to_vec(), ending));
        assert_eq!(client.ask(&["GET", "k"]).await.unwrap_err().kind(), kind);
    }
    let mut client = Client::signed_in(&lab, 60).await;
    answer(FaultReply::Endless);
    client.0.write_all(&Command::new(&["GET", "k"]).encode()).await.unwrap();
    let mut flood = vec![0; 4 * 1024 * 1024];
    timeout(LONG, client.0.read_exact(&mut flood)).await.unwrap().unwrap();
    assert!(!flood.contains(&b'\n'));
}

#[tokio::test]
async fn replies_can_be_split_into_pieces() {
    let (lab, _) = lab().await;
    let mut client = Client::signed_in(&lab, 60).await;
    lab.cache().faults(|faults| faults.pieces = Some(Pieces { size: 2, pause: Duration::from_millis(20) }));
    let started = Instant::now();
    assert_eq!(client.ask(&["PING"]).await.unwrap(), PONG);
    assert!(started.elapsed() >= Duration::from_millis(60), "{:?}", started.elapsed());
}

#[tokio::test]
async fn the_certificate_can_be_replaced_while_the_cache_runs() {
    let (lab, _) = lab().await;
    let mut old = Client::signed_in(&lab, 60).await;
    lab.cache().set_certificate(lab.certificate_authority().issue_expired(&[HOST]).unwrap());
    let error = Client::connect(&lab).await.err().unwrap();
    assert!(error.to_string().contains("certificate expired"), "{error}");
    assert_eq!(old.ask(&["PING"]).await.unwrap(), PONG);
    lab.cache().set_certificate(lab.certificate_authority().issue(&[HOST]).unwrap());
    Client::signed_in(&lab, 60).await;
}

#[tokio::test]
async fn everything_stops_when_the_stand_in_is_dropped() {
    let (lab, _) = lab().await;
    let mut client = Client::signed_in(&lab, 60).await;
    let ports = [lab.cache_port(), lab.endpoint.http_port(), lab.endpoint.https_port()];
    drop(lab);
    assert_ne!(client.end().await, io::ErrorKind::TimedOut);
    for port in ports {
        let refused = timeout(LONG, async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                tokio::task::yield_now().await;
            }
        });
        refused.await.unwrap();
    }
}

#[tokio::test]
async fn notices_reach_those_who_asked_for_them_and_speak_resp3() {
    let (lab, _) = lab().await;
    let token = lab.token(LONG).unwrap();
    let hello = ["HELLO", "3", "AUTH", lab.object_id(), token.secret.expose()];
    let subscribe = ["SUBSCRIBE", "AzureRedisEvents"];
    let mut old = Client::signed_in(&lab, 60).await;
    assert!(old.ask(&subscribe).await.unwrap().starts_with("-ERR unknown command"));
    let mut client = Client::connect(&lab).await.unwrap();
    assert!(client.ask(&hello).await.unwrap().starts_with('%'));
    lab.cache().publish("nobody has asked");
    assert_eq!(client.ask(&["PING"]).await.unwrap(), PONG);
    let confirmed = ">3\r\n$9\r\nsubscribe\r\n$16\r\nAzureRedisEvents\r\n:1\r\n";
    assert_eq!(client.ask(&subscribe).await.unwrap(), confirmed);
    let notifications = ["CLIENT", "MAINT_NOTIFICATIONS", "ON"];
    assert!(client.ask(&notifications).await.unwrap().starts_with("-ERR unknown subcommand"));
    lab.cache().publish("hi");
    let message = timeout(LONG, read_reply(&mut client.0)).await.unwrap().unwrap();
    assert_eq!(message, b">3\r\n$7\r\nmessage\r\n$16\r\nAzureRedisEvents\r\n$2\r\nhi\r\n");
    assert_eq!(client.ask(&["PING"]).await.unwrap(), PONG);
    assert_eq!(old.ask(&["PING"]).await.unwrap(), PONG, "it got nothing");

    lab.cache().set_profile(Profile { announcing: Announcing::Pushes, ..Profile::default() });
    let mut client = Client::connect(&lab).await.unwrap();
    client.ask(&hello).await.unwrap();
    assert_eq!(client.ask(&notifications).await.unwrap(), "+OK\r\n");
    lab.cache().push(b">1\r\n+MIGRATED\r\n");
    assert_eq!(timeout(LONG, read_reply(&mut client.0)).await.unwrap().unwrap(), b">1\r\n+MIGRATED\r\n");
}
