//! The tools of developers, `az` and `azd`: shell scripts that print what those print.

use rustix::process::Signal;

use crate::identities::{check, signed_in, with_command};
use crate::lab::Lab;
use crate::program::eventually;

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

#[tokio::test]
async fn the_configured_account_is_passed_on_and_takes_precedence_over_the_variable() {
    let lab = Lab::start().await;
    let seen = lab.path("seen");
    let recorded = |script: String| format!("echo \"$*\" >> '{}'; {script}", seen.display());
    let az = lab.command("az", &recorded(lab.az_script(&lab.token())));
    let azd = lab.command("azd", &recorded(lab.azd_script()));
    let by_az = "account get-access-token --output json --scope https://redis.azure.com/.default";
    let by_azd = "auth token --output json --no-prompt --scope https://redis.azure.com/.default";
    for (folder, flags, variable, expected) in [
        (&az, ["--identity", "azure_cli", "--tenant-id", "t1"], "t2", format!("{by_az} --tenant t1")),
        (
            &az,
            ["--identity", "azure_cli", "--subscription", "a b"],
            "t2",
            format!("{by_az} --subscription a b"),
        ),
        (&az, ["--identity", "azure_cli", "--log-level", "warn"], "t2", format!("{by_az} --tenant t2")),
        (&az, ["--identity", "azure_cli", "--log-level", "warn"], "", by_az.to_owned()),
        (
            &azd,
            ["--identity", "azure_developer_cli", "--tenant-id", "t1"],
            "t2",
            format!("{by_azd} --tenant-id t1"),
        ),
        (
            &azd,
            ["--identity", "azure_developer_cli", "--log-level", "warn"],
            "t2",
            format!("{by_azd} --tenant-id t2"),
        ),
    ] {
        let program = with_command(check(&lab, flags).env("AZURE_TENANT_ID", variable), folder);
        signed_in(&lab, &program.run().await);
        assert_eq!(std::fs::read_to_string(&seen).unwrap(), format!("{expected}\n"));
        std::fs::remove_file(&seen).unwrap();
    }
}

#[tokio::test]
async fn one_az_at_a_time_serves_every_identity() {
    let lab = Lab::start().await;
    let runs = lab.path("runs");
    let script = format!(
        "echo start >> '{0}'; sleep 0.3; {1}; echo end >> '{0}'",
        runs.display(),
        lab.az_script(&lab.token())
    );
    let az = lab.command("az", &script);
    let targets = ["t1", "t2", "t3"]
        .map(|tenant| lab.target(tenant, &format!("identity: {{type: azure_cli, tenant_id: {tenant}}}")));
    let file = lab.file("agent.yaml", &Lab::config(targets));
    let agent = with_command(lab.run_file(&file), &az).serve().await;
    agent.until("three targets", |scrape| ["t1", "t2", "t3"].iter().all(|name| scrape.is_up(name))).await;
    assert_eq!(std::fs::read_to_string(runs).unwrap(), "start\nend\n".repeat(3));
}

#[tokio::test]
async fn check_that_a_signal_stops_leaves_no_az_behind() {
    let lab = Lab::start().await;
    let pid = lab.path("pid");
    // As the real one: a script around another program.
    let az = lab.command(
        "az",
        &format!("sh -c 'echo $$ > {0}.new; mv {0}.new {0}; sleep 1000; :'; :", pid.display()),
    );
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let check = with_command(check(&lab, ["--identity", "azure_cli"]), &az).spawn();
        eventually("az runs", || pid.exists()).await;
        let child = std::fs::read_to_string(&pid).unwrap();
        std::fs::remove_file(&pid).unwrap();
        check.signal(signal);
        assert_eq!(check.ended().await.code, None, "a signal ends it");
        let stat = format!("/proc/{}/stat", child.trim());
        // A killed process that is not reaped yet is a zombie (Z).
        let is_alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        eventually("it ends", || !is_alive()).await;
    }
}
