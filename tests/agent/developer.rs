//! The tools of developers, `az` and `azd`: shell scripts that print what those print.

use crate::identities::{check, signed_in, with_command};
use crate::lab::Lab;

#[tokio::test]
async fn the_command_line_tools_of_a_developer_sign_in() {
    let lab = Lab::start().await;
    signed_in(
        &lab,
        &with_command(check(&lab, ["--identity", "azure_cli"]), &lab.az(&lab.token())).run().await,
    );
    let azd = lab.azd();
    signed_in(&lab, &with_command(check(&lab, ["--identity", "azure_developer_cli"]), &azd).run().await);
}

#[tokio::test]
async fn a_slow_az_runs_once_and_check_says_that_it_waits_for_it() {
    let lab = Lab::start().await;
    let runs = lab.path("runs");
    // Longer than the delay after which a request over the network is hedged.
    let slow = format!("echo run >> '{}'; sleep 5; {}", runs.display(), lab.az_script(&lab.token()));
    let az = lab.command("az", &slow);
    let ended = with_command(check(&lab, ["--identity", "azure_cli"]), &az).run().await;
    signed_in(&lab, &ended);
    let waiting =
        "msg=\"waiting for the command to return a token\" identity=azure_cli command=az limit_seconds=60";
    assert_eq!(ended.stderr.matches(waiting).count(), 1, "{ended:?}");
    assert_eq!(std::fs::read_to_string(runs).unwrap(), "run\n");
}

#[tokio::test]
async fn a_refusal_of_az_or_azd_is_a_sentence_with_the_command_to_run() {
    let lab = Lab::start().await;
    let az = lab.command("az", "echo \"ERROR: Please run 'az login' to setup account.\" >&2; exit 1");
    let azd = lab.command(
        "azd",
        "echo '{\"error\":\"x\",\"message\":\"not logged in\",\"suggestion\":\"Run `azd auth login`\"}' >&2; exit 1",
    );
    for (folder, identity, tenant, expected) in [
        (&az, "azure_cli", "", "az is not signed in; run `az login`"),
        (&az, "azure_cli", "contoso.com", "az is not signed in; run `az login --tenant contoso.com`"),
        (&azd, "azure_developer_cli", "", "azd is not signed in; run `azd auth login`"),
        (
            &azd,
            "azure_developer_cli",
            "contoso.com",
            "azd is not signed in; run `azd auth login --tenant-id contoso.com`",
        ),
    ] {
        let program = check(&lab, ["--identity", identity]).env("AZURE_TENANT_ID", tenant);
        let ended = with_command(program, folder).run().await;
        assert_eq!(ended.code, Some(1));
        assert!(ended.stdout.contains(expected), "{expected}: {ended:?}");
        assert!(ended.stdout.contains("as the user that the agent runs as"), "{ended:?}");
    }
    let ended = check(&lab, ["--identity", "azure_cli"]).env("PATH", "/nowhere").run().await;
    assert!(ended.stdout.contains("az is not on PATH; install it, then run `az login`"), "{ended:?}");
}
