//! Faults of tokens and their sources.

use std::time::Duration;

use cachepulse::identity::refresh::FETCH_TIMEOUT;
use cachepulse_standin::{Clock, ErrorBody, Options, TokenFault};

use super::Group;
use crate::bench::{Bench, LIMITS};
use crate::lab::Lab;
use crate::redis_server::ALL;
use crate::row::{Case, Row, at_once};
use crate::secrets::{NOT_A_TOKEN, OLD_SECRET};

const SHORT: Duration = Duration::from_secs(6);
const HOUR: Duration = Duration::from_secs(3600);
const OFF: Duration = Duration::from_secs(600);

/// Applies `fault` to requests for tokens.
fn endpoint<const N: usize>(reasons: [&'static str; N], fault: TokenFault) -> Case {
    Case::new(
        reasons,
        at_once(move |bench| {
            let fault = fault.clone();
            bench.lab.azure.endpoint().set(|settings| settings.fault = Some(fault));
        }),
        at_once(|bench| bench.lab.azure.endpoint().set(|settings| settings.fault = None)),
    )
}

/// Refuses connections to the endpoint.
fn down<const N: usize>(reasons: [&'static str; N], token_lifetime: Duration) -> Case {
    Case::new(
        reasons,
        Box::new(|bench| Box::pin(bench.gate.as_mut().unwrap().shut())),
        at_once(|bench| bench.gate.as_mut().unwrap().reopen()),
    )
    .on(move || Bench::gated_endpoint(token_lifetime))
}

/// The same from the start, without a first token.
pub(super) fn without_a_token(fault: TokenFault) -> Case {
    endpoint(["no_token"], fault).first()
}

/// Starts the agent with tokens of this lifetime.
fn lifetime(lifetime: Duration) -> Case {
    Case::new([], at_once(|_| {}), at_once(|_| {}))
        .on(async move || Bench::of(Lab::with_tokens_of(lifetime).await))
}

/// Simulates an agent's clock that is ahead or behind, by moving Azure's clocks in the other direction.
///
/// For the agent there is no difference. It compares its clock only with the expiry of tokens and the validity of
/// certificates, which Azure dates. Everything else uses the monotonic clock or only records the time.
fn clock(azure_is: fn() -> Clock, token_lifetime: Duration) -> Case {
    Case::new([], at_once(|_| {}), at_once(|_| {})).on(async move || {
        let options = Options { clock: azure_is(), token_lifetime, ..Options::default() };
        Bench::of(Lab::set_up(options, ALL).await)
    })
}

fn behind() -> Clock {
    let clock = Clock::system();
    Clock::new(move || clock.now() - OFF)
}

fn ahead() -> Clock {
    let clock = Clock::system();
    Clock::new(move || clock.now() + OFF)
}

/// Returns an agent with an empty folder in place of the one with `az`.
async fn by_azure_cli() -> Bench {
    let lab = Lab::start().await;
    let program = lab.run(LIMITS).args(["--identity", "azure_cli"]).env("PATH", lab.path("az-folder"));
    Bench::new(lab, program)
}

/// Returns an agent in a pod, with this content in the file of the token.
async fn in_a_pod(content: Option<&str>) -> Bench {
    let lab = Lab::start().await;
    let file = lab.path("federated-token");
    if let Some(content) = content {
        lab.file("federated-token", content);
    }
    let program = lab.run(LIMITS).args(["--identity", "workload_identity"]);
    let program = lab.application(program).env("AZURE_FEDERATED_TOKEN_FILE", file);
    Bench::new(lab, program)
}

/// Returns an agent of an application, with an outdated secret in the file.
async fn by_client_secret() -> Bench {
    let lab = Lab::start().await;
    let file = lab.file("client-secret", OLD_SECRET);
    let program = lab.run(LIMITS).args(["--identity", "client_secret", "--client-secret-file"]).args([file]);
    let program = lab.application(program);
    Bench::new(lab, program)
}

fn federated(content: Option<&'static str>) -> Case {
    Case::new(
        ["no_token"],
        at_once(|_| {}),
        at_once(|bench| {
            bench.lab.federated_token_file();
        }),
    )
    .first()
    .on(move || in_a_pod(content))
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Group::new("Token");
    rows.case("endpoint down at start-up", down(["no_token"], HOUR).first());
    rows.case(
        "endpoint down beyond the token's expiry, then restored",
        down(["token_expired"], SHORT).shows_late(SHORT),
    );
    rows.case("endpoint that hangs", without_a_token(TokenFault::Hang).shows_late(FETCH_TIMEOUT));
    rows.case("endpoint that resets connections", without_a_token(TokenFault::Reset));
    rows.case("429 with `Retry-After: 0`", without_a_token(TokenFault::throttled(0)));
    rows.case(
        "429 with `Retry-After: 3600`",
        without_a_token(TokenFault::throttled(3600)).lasts(Duration::from_secs(5)),
    );
    rows.case("500", without_a_token(TokenFault::status(500)));
    let page = TokenFault::Status { code: 503, retry_after: None, body: ErrorBody::Html };
    rows.case("503 with an HTML page", without_a_token(page));
    let page = TokenFault::Status { code: 200, retry_after: None, body: ErrorBody::Html };
    rows.case("200 with an HTML page", without_a_token(page));
    rows.case("truncated JSON", without_a_token(TokenFault::Truncated));
    rows.case(
        "the same token returned beyond its expiry",
        endpoint(["token_expired"], TokenFault::SameToken)
            .shows_late(SHORT)
            .on(async || Bench::of(Lab::with_tokens_of(SHORT).await)),
    );
    rows.case(
        "expired token",
        endpoint(["token_expired"], TokenFault::Expired)
            .first()
            .on(async || Bench::of(Lab::with_tokens_of(SHORT).await)),
    );
    rows.case(
        "token that expires in 200 s",
        endpoint([], TokenFault::Lifetime(Duration::from_secs(200))).first(),
    );
    rows.case("lifetime of 20 s", lifetime(Duration::from_secs(20)).lasts(Duration::from_secs(21)));
    rows.case("lifetime of 24 h", lifetime(24 * HOUR));
    rows.case("clock 10 minutes ahead", clock(behind, HOUR));
    rows.case("clock 10 minutes ahead, tokens of 5 minutes", clock(behind, HOUR / 12));
    rows.case("clock 10 minutes behind", clock(ahead, HOUR));
    rows.case(
        "`az` not installed",
        Case::new(
            ["no_token"],
            at_once(|_| {}),
            at_once(|bench| {
                bench.lab.az(&bench.lab.token());
            }),
        )
        .first()
        .on(by_azure_cli),
    );
    rows.case(
        "client secret replaced, then the file updated",
        Case::new(
            ["no_token"],
            at_once(|_| {}),
            at_once(|bench| {
                bench.lab.file("client-secret", bench.lab.azure.client_secret().expose());
            }),
        )
        .first()
        .on(by_client_secret),
    );
    rows.case("federated token file missing", federated(None));
    rows.case("federated token file with invalid content, then rotated", federated(Some(NOT_A_TOKEN)));
    rows.rows
}
