//! Each kind of peer, by what it says.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;
use crate::secret::Secret;

pub(in crate::connection) const HELLO: &str = "%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:7\r\n\
                     $4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*1\r\n%1\r\n\
                     $4\r\nname\r\n$9\r\nvectorset\r\n";

/// Greets a peer that answers each of our writes with one of `says`, and then hangs up or holds.
async fn greet(
    credentials: &Credentials,
    says: &[&str],
    holds: bool,
) -> (Result<Greeting, NotGreeted>, Vec<String>) {
    greet_as(credentials, None, says, holds).await
}

async fn greet_as(
    credentials: &Credentials,
    protocol: Option<Protocol>,
    says: &[&str],
    holds: bool,
) -> (Result<Greeting, NotGreeted>, Vec<String>) {
    let (near, mut far) = duplex(64 * 1024);
    let mut session = Session::new(near, 10_000, None);
    let peer = async move {
        let mut heard = Vec::new();
        for reply in says {
            heard.push(sent(&mut far).await);
            far.write_all(reply.as_bytes()).await.unwrap();
        }
        (heard, holds.then_some(far))
    };
    let mut deadline = Instant::now() + Duration::from_secs(2);
    let (greeting, (heard, _far)) = tokio::join!(session.greet(credentials, protocol, &mut deadline), peer);
    (greeting, heard)
}

async fn sent(far: &mut DuplexStream) -> String {
    let mut bytes = vec![0; 4096];
    let length = far.read(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
    text.split("\r\n")
        .filter(|line| !line.starts_with(['*', '$']))
        .collect::<Vec<_>>()
        .join(" ")
        .trim_end()
        .to_owned()
}

pub(super) fn password() -> Credentials {
    Credentials::Password { username: None, secret: Secret::new("s3cretpassword".into()) }
}

fn failure(greeting: Result<Greeting, NotGreeted>) -> Failure {
    match greeting.unwrap_err() {
        NotGreeted::Failed(failure) | NotGreeted::HungUp(failure) => failure,
    }
}

#[tokio::test(start_paused = true)]
async fn one_round_trip_signs_in_names_the_connection_and_proves_it() {
    let (greeting, heard) = greet(&password(), &[&format!("{HELLO}+PONG\r\n")], true).await;
    let server = ServerInfo::new("redis", "7.0.15", Some(Mode::Standalone), Some(Role::Primary));
    let expected = Greeting { protocol: Protocol::Resp3, server, refused: None };
    assert_eq!(greeting, Ok(expected.clone()));
    assert_eq!(heard, ["HELLO 3 AUTH default s3cretpassword SETNAME cachepulse PING"]);
    let (greeting, heard) = greet(&Credentials::None, &[&format!("{HELLO}+PONG\r\n")], true).await;
    assert_eq!((greeting, heard), (Ok(expected), vec!["HELLO 3 SETNAME cachepulse PING".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_server_says_which_role_and_mode_it_has_in_any_spelling_and_order() {
    let standalone = Some(Mode::Standalone);
    for (from, to, mode, role) in [
        ("$6\r\nmaster", "$7\r\nreplica", standalone, Some(Role::Replica)),
        ("$6\r\nmaster", "+slave", standalone, Some(Role::Replica)),
        ("$6\r\nmaster", "=11\r\ntxt:primary", standalone, Some(Role::Primary)),
        ("$6\r\nmaster", "*1\r\n$6\r\nmaster", standalone, None),
        ("$4\r\nrole\r\n$6\r\nmaster", "$4\r\nrale\r\n_", standalone, None),
        ("$10\r\nstandalone", "$7\r\ncluster", Some(Mode::Cluster), Some(Role::Primary)),
        ("$10\r\nstandalone", "$8\r\nsentinel", Some(Mode::Sentinel), Some(Role::Primary)),
        ("$10\r\nstandalone", "$5\r\nother", None, Some(Role::Primary)),
        ("$4\r\nrole", "$17\r\navailability_zone", standalone, None),
    ] {
        let hello = HELLO.replacen(from, to, 1);
        assert_ne!(hello, HELLO);
        let (greeting, _) = greet(&password(), &[&format!("{hello}+PONG\r\n")], true).await;
        let server = greeting.unwrap_or_else(|error| panic!("{to}: {error:?}")).server;
        assert_eq!(server, ServerInfo::new("redis", "7.0.15", mode, role), "{to}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_server_says_of_itself_is_bounded_and_needs_no_valid_text() {
    let long = format!("$3000\r\n{}", "7".repeat(3000));
    let hello = HELLO.replace("$5\r\nredis", "$2\r\n\u{7}x").replace("$6\r\n7.0.15", &long);
    let (greeting, _) = greet(&password(), &[&format!("{hello}+PONG\r\n")], true).await;
    let server = greeting.unwrap().server;
    assert_eq!(server.product(), "x");
    assert_eq!(server.version().chars().count(), 40);
}

#[tokio::test(start_paused = true)]
async fn pushes_and_attributes_between_replies_are_no_replies() {
    let push = ">2\r\n+SMIGRATING\r\n:1\r\n";
    let says = format!("{push}{HELLO}{push}|1\r\n+ttl\r\n:1\r\n+PONG\r\n{push}");
    let (greeting, _) = greet(&password(), &[&says], true).await;
    assert_eq!(greeting.unwrap().protocol, Protocol::Resp3);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_cannot_serve_is_signed_in_all_the_same() {
    let says = format!("{HELLO}-LOADING Redis is loading the dataset in memory\r\n");
    let (greeting, _) = greet(&password(), &[&says], true).await;
    let refused = greeting.unwrap().refused.unwrap();
    assert_eq!((refused.reason, refused.stage), (FailureReason::Loading, Stage::Step(Step::Ping)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_know_hello_is_signed_in_with_auth_on_the_same_connection() {
    for unknown in [
        "-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 'default' 's3cretpassword'",
        "-ERR unknown command `HELLO`",
        "-unsupported command 'HELLO'",
        "-ERR unsupported command `hello` ",
        "-NOPROTO unsupported protocol version",
        "-NOAUTH Authentication required.",
        "-ERR Syntax error in HELLO option 'SETNAME'",
        "+OK",
        "*1\r\n+OK",
    ] {
        let says =
            [format!("{unknown}\r\n-NOAUTH Authentication required.\r\n"), "+OK\r\n+PONG\r\n".to_owned()];
        let (greeting, heard) = greet(&password(), &[&says[0], &says[1]], true).await;
        let greeting = greeting.unwrap_or_else(|error| panic!("{unknown}: {error:?}"));
        assert_eq!(
            greeting,
            Greeting { protocol: Protocol::Resp2, server: ServerInfo::default(), refused: None },
            "{unknown}"
        );
        assert_eq!(heard[1], "AUTH s3cretpassword PING");
    }
    let says = ["-ERR unknown command 'HELLO'\r\n+PONG\r\n", "+PONG\r\n"];
    assert!(greet(&Credentials::None, &says, true).await.0.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_real_refusal_is_not_asked_for_twice() {
    for (says, reason) in [
        ("-WRONGPASS invalid username-password pair or user is disabled.\r\n", FailureReason::AuthRejected),
        ("-ERR WRONGPASS invalid username-password pair\r\n", FailureReason::AuthRejected),
        ("-ERR max number of clients reached\r\n", FailureReason::TooManyClients),
        ("-LOADING Redis is loading the dataset in memory\r\n", FailureReason::Loading),
        ("-ERR maintenance in progress, try later\r\n", FailureReason::ServerError),
    ] {
        // Whether it hangs up or not.
        for holds in [true, false] {
            let (greeting, heard) = greet(&password(), &[says], holds).await;
            let failure = failure(greeting);
            assert_eq!((failure.reason, heard.len()), (reason, 1), "{says}");
            assert_eq!(*failure.detail, *says.trim_start_matches('-').trim_end(), "in the server's words");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn without_credentials_a_server_that_wants_some_refuses() {
    let says = "-NOAUTH HELLO must be called with the client already authenticated\r\n-NOAUTH no\r\n";
    let (greeting, _) = greet(&Credentials::None, &[says], true).await;
    assert_eq!(failure(greeting).reason, FailureReason::AuthRejected);
    let greeted =
        greet_as(&Credentials::None, Some(Protocol::Resp2), &["-NOAUTH Authentication required.\r\n"], true);
    assert_eq!(failure(greeted.await.0).reason, FailureReason::AuthRejected);
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_hangs_up_on_hello_may_know_auth() {
    for says in ["", "-ERR unknown command 'HELLO'\r\n"] {
        let (greeting, _) = greet(&password(), &[says], false).await;
        assert!(matches!(greeting, Err(NotGreeted::HungUp(_))), "{says}: {greeting:?}");
    }
    // Half a reply is no proxy that does not know HELLO.
    let (greeting, _) = greet(&password(), &["%7\r\n$6\r\nser"], false).await;
    assert!(matches!(greeting, Err(NotGreeted::Failed(_))), "{greeting:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_know_resp3_is_a_failure_where_nothing_else_is_wanted() {
    for (says, reason) in [
        (
            "-ERR unknown command 'HELLO', with args beginning with: '3' 'AUTH' 's3cretpassword'",
            "ERR unknown command 'HELLO'",
        ),
        ("-NOPROTO unsupported protocol version", "NOPROTO unsupported protocol version"),
        ("-NOAUTH Authentication required.", "NOAUTH Authentication required."),
        ("+OK", "HELLO 3 was not answered with RESP3"),
        ("%1\r\n+proto\r\n:2", "HELLO 3 was not answered with RESP3"),
    ] {
        let says = format!("{says}\r\n-NOAUTH Authentication required.\r\n");
        let (greeting, heard) = greet_as(&password(), Some(Protocol::Resp3), &[&says], true).await;
        let Err(NotGreeted::Failed(failure)) = greeting else { panic!("{says}: {greeting:?}") };
        assert_eq!(
            (failure.reason, &*failure.detail, heard.len()),
            (FailureReason::ProtocolError, reason, 1)
        );
        assert!(failure.advice().contains("`protocol`"), "{failure}");
    }
    let (greeting, _) = greet_as(&password(), Some(Protocol::Resp3), &[""], false).await;
    let Err(NotGreeted::Failed(failure)) = greeting else { panic!("{greeting:?}") };
    assert_eq!(failure.reason, FailureReason::Closed);
    assert!(failure.advice().contains("`protocol`"), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn what_a_server_echoes_of_the_secret_is_not_in_the_failure() {
    let echo = "-ERR unknown command 'AUTH', with args beginning with: 's3cretpassword' \r\n+PONG\r\n";
    let (greeting, _) = greet_as(&password(), Some(Protocol::Resp2), &[echo], true).await;
    let failure = failure(greeting);
    assert_eq!(&*failure.detail, "ERR unknown command 'AUTH'");
}

#[tokio::test(start_paused = true)]
async fn silence_ends_with_the_deadline() {
    let (greeting, _) = greet(&password(), &[""], true).await;
    assert_eq!(failure(greeting).reason, FailureReason::CommandTimeout);
}

#[tokio::test(start_paused = true)]
async fn the_advice_about_a_refused_sign_in_says_what_the_server_expects() {
    let user =
        Credentials::Password { username: Some("app".into()), secret: Secret::new("s3cretpassword".into()) };
    let quoted = Credentials::Password { username: None, secret: Secret::new("'s3cretpassword'".into()) };
    for (credentials, says, advice) in [
        (quoted, "-WRONGPASS invalid username-password pair", "begins and ends with a quotation mark"),
        (password(), "-ERR Client sent AUTH, but no password is set", "The server has no password"),
        (user.clone(), "-ERR wrong number of arguments for 'auth' command", "without a user name"),
        (user.clone(), "-ERR invalid username-password pair", "that the user `username` exists"),
        (password(), "-ERR invalid password", "that the access key or password"),
        (password(), "-ERR unknown command 'AUTH'", "does not know AUTH"),
        (Credentials::None, "-NOAUTH Authentication required.", "set `identity`"),
    ] {
        let pong = if credentials == Credentials::None { "" } else { "+PONG\r\n" };
        let says = format!("{says}\r\n{pong}");
        let (greeting, _) = greet_as(&credentials, Some(Protocol::Resp2), &[&says], true).await;
        let failure = failure(greeting);
        assert_eq!(failure.reason, FailureReason::AuthRejected, "{says}");
        assert!(failure.advice().contains(advice), "{says}: {}", failure.advice());
    }
}
