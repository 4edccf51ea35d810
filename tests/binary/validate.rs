//! `cachepulse validate`: all problems reported together, or none.

use crate::program::{Program, cachepulse};

#[tokio::test]
async fn the_examples_are_valid() {
    let smallest = cachepulse(["validate", "examples/smallest.yaml"]).run().await;
    assert_eq!(smallest.code, Some(0), "{smallest:?}");
    assert_eq!(smallest.stdout, "examples/smallest.yaml: valid, 1 target\n");
    let fullest = cachepulse(["validate", "examples/fullest.yaml"]).env("CACHE_PASSWORD", "x").run().await;
    assert_eq!(fullest.code, Some(0), "{fullest:?}");
}

#[tokio::test]
async fn all_problems_are_reported_together_with_their_paths() {
    let folder = "tests/config/invalid/";
    let file = "tests/config/invalid/everything-at-once.yaml";
    let ended = cachepulse(["validate", file]).run().await;
    assert_eq!(ended.code, Some(64));
    assert_eq!(ended.stdout, "");
    let problems = std::fs::read_to_string("tests/config/invalid/everything-at-once.txt").unwrap();
    assert_eq!(ended.stderr.replace(folder, ""), problems);
}

#[tokio::test]
async fn several_files_and_standard_input_are_validated_separately() {
    let smallest = || std::fs::File::open("examples/smallest.yaml").unwrap();
    let valid = cachepulse(["validate", "-", "examples/smallest.yaml"]).stdin(smallest()).run().await;
    assert_eq!(valid.code, Some(0), "{valid:?}");
    assert_eq!(valid.stdout, "<stdin>: valid, 1 target\nexamples/smallest.yaml: valid, 1 target\n");

    let invalid = "tests/config/invalid/attempts.yaml";
    let mixed = cachepulse(["validate", invalid, "/nonexistent", "-"]).stdin(smallest()).run().await;
    assert_eq!(mixed.code, Some(64), "one invalid file is enough");
    assert_eq!(mixed.stdout, "<stdin>: valid, 1 target\n");
    assert!(mixed.stderr.contains(invalid), "{mixed:?}");
    assert!(mixed.stderr.contains("the configuration file /nonexistent cannot be read: "), "{mixed:?}");

    let json = cachepulse(["validate", "--output", "json", invalid, "-"]).stdin(smallest()).run().await;
    assert_eq!((json.code, json.stderr.as_str()), (Some(64), ""));
    let documents: Vec<serde_json::Value> =
        json.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&documents[0]["file"], &documents[0]["valid"]), (&invalid.into(), &false.into()));
    assert_eq!(documents[0]["problems"][0]["path"], "targets[0] (orders).attempts");
    assert_eq!(documents[0]["problems"][0]["line"], 4);
    assert_eq!(
        documents[1],
        serde_json::json!({"file": "<stdin>", "valid": true, "targets": 1, "problems": [], "warnings": []})
    );
}

#[tokio::test]
async fn names_of_files_are_escaped() {
    let folder = tempfile::tempdir().unwrap();
    let [valid, invalid, missing] =
        ["valid", "invalid", "missing"].map(|name| folder.path().join(format!("{name}\n\u{1b}[31m.yaml")));
    std::fs::copy("examples/smallest.yaml", &valid).unwrap();
    std::fs::copy("tests/config/invalid/attempts.yaml", &invalid).unwrap();
    let ended =
        cachepulse(["validate".as_ref(), valid.as_os_str(), invalid.as_os_str(), missing.as_os_str()]);
    let ended = ended.run().await;
    assert!(ended.stdout.ends_with("/valid\\n\\u001b[31m.yaml: valid, 1 target\n"), "{ended:?}");
    for part in ["/invalid\\n\\u001b[31m.yaml:4:", "/missing\\n\\u001b[31m.yaml cannot be read: "] {
        assert!(ended.stderr.contains(part), "{part} {ended:?}");
    }
    assert!(!ended.stderr.contains('\u{1b}'), "{ended:?}");
}

#[tokio::test]
async fn without_files_the_configuration_of_run_is_validated() {
    let message = "examples/smallest.yaml: valid, 1 target\n";
    let by_flag = cachepulse(["validate", "--config", "examples/smallest.yaml"]);
    assert_eq!(by_flag.env("CACHEPULSE_CONFIG", "/nonexistent").run().await.stdout, message);
    let by_variable = cachepulse(["validate"]).env("CACHEPULSE_CONFIG", "examples/smallest.yaml");
    assert_eq!(by_variable.run().await.stdout, message);
    let neither = cachepulse(["validate"]).env("CACHEPULSE_CONFIG", "").run().await;
    assert_eq!(neither.code, Some(64));
}

#[tokio::test]
async fn a_missing_secret_is_a_problem() {
    let ended = cachepulse(["validate", "examples/fullest.yaml"]).run().await;
    assert_eq!(ended.code, Some(64));
    let message =
        "(inventory).identity.password.env: the secret's environment variable CACHE_PASSWORD is not \
                set
";
    assert!(
        ended.stderr.starts_with("examples/fullest.yaml:") && ended.stderr.contains(message),
        "{ended:?}"
    );
}

#[tokio::test]
async fn a_warning_is_printed_and_the_file_is_valid() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, "targets: [{name: a, host: a, connect_timeout: 20ms}]").unwrap();
    let ended = cachepulse(["validate", file.to_str().unwrap()]).run().await;
    assert_eq!(ended.code, Some(0));
    assert!(ended.stderr.starts_with("warning: "), "{ended:?}");
    assert!(ended.stderr.contains("config.yaml:1:47: targets[0] (a).connect_timeout: "), "{ended:?}");
}

#[tokio::test]
async fn a_byte_order_mark_is_not_a_document() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yaml");
    std::fs::write(&file, "\u{feff}targets:\n  - name: a\n    host: a\n    prot: 1\n").unwrap();
    let ended = cachepulse(["validate", file.to_str().unwrap()]).run().await;
    assert!(ended.stderr.contains("config.yaml:4:5: targets[0] (a): unknown key \"prot\""), "{ended:?}");
}

#[tokio::test]
async fn problems_that_nobody_can_read_still_have_their_exit_code() {
    let full = || std::fs::File::options().write(true).open("/dev/full").unwrap();
    for arguments in [["validate", "/nonexistent"], ["validate", "--nonsense"]] {
        assert_eq!(cachepulse(arguments).stderr(full()).run().await.code, Some(64), "{arguments:?}");
    }
}

#[tokio::test]
async fn resolve_shows_what_auto_uses_and_why_not_another_source() {
    let yaml = "targets:\n\
                - {name: a, host: a}\n\
                - {name: b, host: b, identity: {type: auto, client_id: c}}\n\
                - {name: c, host: c, identity: auto}\n\
                - {name: d, host: d, identity: azure_cli}\n";
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, yaml.as_bytes()).unwrap();
    let path = file.path().to_str().unwrap();
    let validate = |more: &[&str]| {
        cachepulse(["validate", "--resolve", path].iter().chain(more))
            .env("AZURE_TENANT_ID", "t")
            .env("AZURE_CLIENT_SECRET", "hunter2")
            .env("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
    };
    let text = validate(&[]).run().await;
    assert_eq!((text.code, &*text.stderr), (Some(0), ""));
    let start = format!(
        "{path}: valid, 4 targets\n\
         a, c:\n  auto chose client_secret: AZURE_TOKEN_CREDENTIALS=EnvironmentCredential\n"
    );
    assert!(text.stdout.starts_with(&start), "{text:?}");
    for lines in [
        "\n  not azure_cli: AZURE_TOKEN_CREDENTIALS=EnvironmentCredential excludes it\n",
        "\nb:\n  auto chose client_secret:c: AZURE_CLIENT_SECRET, AZURE_TENANT_ID and client_id are set\n",
    ] {
        assert!(text.stdout.contains(lines), "{text:?}");
    }
    assert!(!text.stdout.contains("hunter2"));
    let first = text.stdout.split("\nb:\n").next().unwrap();
    let others = first.lines().filter_map(|line| line.trim_start().strip_prefix("not ")?.split(':').next());
    assert_eq!(
        others.collect::<Vec<_>>(),
        ["client_certificate", "workload_identity", "managed_identity", "azure_cli", "azure_developer_cli"],
        "in the order of precedence"
    );

    let json = validate(&["--output", "json"]).run().await;
    let document: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    let [first, second] = document["identities"].as_array().unwrap().as_slice() else { panic!("{json:?}") };
    assert_eq!((&first["identity"], &first["targets"]), (&"auto".into(), &serde_json::json!(["a", "c"])));
    assert_eq!((&second["identity"], &second["chosen"]), (&"auto:c".into(), &"client_secret:c".into()));
}

#[tokio::test]
async fn the_variables_that_auto_obeys_are_validated() {
    let validate = |file: &str| cachepulse(["validate", file]).env("AZURE_TOKEN_CREDENTIALS", "all");
    let (auto, none) = ("targets: [{name: a, host: a}]\n", "targets: [{name: a, host: a, identity: none}]\n");
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, yaml| {
        let path = folder.path().join(name);
        std::fs::write(&path, yaml).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (auto, none) = (file("auto.yaml", auto), file("none.yaml", none));
    for more in [&[][..], &["--resolve"]] {
        let unknown = validate(&auto).args(more).run().await;
        assert_eq!((unknown.code, &*unknown.stdout), (Some(64), ""));
        let problem = "AZURE_TOKEN_CREDENTIALS: expected dev, prod, EnvironmentCredential, ";
        assert!(unknown.stderr.starts_with(problem), "{unknown:?}");
    }
    let json = validate(&auto).args(["--output", "json"]).run().await;
    let document: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(document["problems"][0]["path"], "AZURE_TOKEN_CREDENTIALS");
    assert_eq!(validate(&none).run().await.code, Some(0));

    let user = |program: Program| program.env("AZURE_USERNAME", "u").env("AZURE_PASSWORD", "hunter2");
    let warned = user(cachepulse(["validate", "--resolve", &auto])).run().await;
    assert_eq!(warned.code, Some(0), "{warned:?}");
    assert!(
        warned.stderr.starts_with("warning: AZURE_USERNAME: ignored, as is AZURE_PASSWORD"),
        "{warned:?}"
    );
    let warned = user(cachepulse(["check", "--host", "localhost", "--port", "1"])).run().await;
    assert!(warned.stderr.contains("AZURE_USERNAME: ignored, as is AZURE_PASSWORD"), "{warned:?}");
}
