//! Faults of the sign-in: the user, its permissions, its key.

use std::time::Duration;

use cachepulse_standin::{Dialect, Ending, Profile, Secret, TokenFault};

use super::Group;
use crate::bench::{Bench, LIMITS};
use crate::lab::Lab;
use crate::redis_server::ALL;
use crate::row::{Case, Row, at_once};
use crate::secrets::NEW_KEY;

/// An object id without a policy.
const STRANGER: &str = "11111111-2222-3333-4444-555555555555";
/// Long, so that no scheduled renewal ends the fault.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Removes the user, and restores it.
pub(super) fn removed(dialect: Dialect) -> Case {
    Case::new(
        ["auth_rejected"],
        at_once(move |bench| {
            bench.lab.azure.cache().set_profile(Profile { dialect, ..Profile::default() });
            bench.lab.azure.cache().revoke(bench.lab.azure.object_id());
        }),
        at_once(|bench| bench.lab.azure.cache().grant(bench.lab.azure.object_id())),
    )
    .wake(["closed"])
}

/// Issues wrong tokens from the start. Good ones follow because the agent requests new tokens after a rejection.
fn wrong_token(reason: &'static str, fault: TokenFault) -> Case {
    Case::new(
        [reason],
        at_once(move |bench| {
            let fault = fault.clone();
            bench.lab.azure.endpoint().set(|settings| settings.fault = Some(fault));
        }),
        at_once(|bench| {
            bench.lab.azure.endpoint().set(|settings| {
                settings.fault = None;
                // Otherwise the endpoint would return the wrong token from its cache.
                settings.rotate_before = 2 * DAY;
            });
        }),
    )
    .first()
    .on(async || Bench::of(Lab::with_tokens_of(DAY).await))
}

async fn by_access_key() -> Bench {
    let lab = Lab::start().await;
    let program = lab.run(LIMITS).args(["--identity", "access_key", "--access-key-file"]);
    let program = program.args([lab.access_key_file()]);
    Bench::new(lab, program)
}

pub(super) fn rows() -> Vec<Row> {
    let mut rows = Group::new("Sign-in");
    let acr = "user removed and restored, error `ERR WRONGPASS`";
    rows.case(acr, removed(Dialect::CacheForRedis));
    rows.case("user removed and restored, error `WRONGPASS`", removed(Dialect::ManagedRedis));
    rows.case(
        "rights removed and restored",
        Case::new(
            ["permission_denied"],
            at_once(|bench| bench.lab.redis.set_user(bench.lab.azure.object_id(), "~* +ping +get +client")),
            at_once(|bench| bench.lab.redis.set_user(bench.lab.azure.object_id(), ALL)),
        ),
    );
    rows.case(
        "access key rotated, then the file updated",
        Case::new(
            ["auth_rejected"],
            at_once(|bench| {
                let new = Secret::new(NEW_KEY.to_owned());
                bench.lab.azure.cache().set_access_keys(vec![new]);
                bench.lab.azure.cache().close_all(Ending::Close);
            }),
            at_once(|bench| {
                bench.lab.file("access-key", NEW_KEY);
            }),
        )
        .wake(["closed"])
        .on(by_access_key),
    );
    rows.test(
        "password file replaced by a pipe without a writer",
        "`no_token`, other targets continue",
        "tests/agent/files.rs",
        "a_password_file_that_hangs_fails_its_target_only",
    );
    rows.case(
        "token of 24 h for another `oid`",
        wrong_token("auth_rejected", TokenFault::ObjectId(STRANGER.to_owned())),
    );
    rows.case("token of 24 h without `oid`", wrong_token("no_token", TokenFault::WithoutObjectId));
    rows.rows
}
