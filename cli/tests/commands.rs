//! Tests the commands as users run them: the real binary, a real PostgreSQL, the output and the exit code.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use local::gateway::DevelopmentKey;
use local::postgres::{Cluster, Settings, Shutdown};
use local::proxy::{Admission, Proxy, Refusal};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::Command;

const SEER: &str = env!("CARGO_BIN_EXE_seer");

/// The timeout for events that should happen at once.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

fn seer(arguments: &[&str]) -> Command {
    let mut command = Command::new(SEER);
    command.args(arguments).env_remove("DATABASE_URL").kill_on_drop(true);
    command
}

async fn migrate(url: &str) -> Output {
    seer(&["migrate"]).env("DATABASE_URL", url).output().await.unwrap()
}

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the one line of a failure.
fn error(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(said.starts_with("error: ") && said.lines().count() == 1, "{said}");
    said
}

#[tokio::test]
async fn misplaced_url_is_not_echoed() {
    let url = "postgres://seer:hunter-two@db.example/seer?sslrootcert=/hidden";
    let (budget, json) = (format!("--budget={url}"), format!("--json={url}"));
    for arguments in [
        &["doctor", url][..],
        &["doctor", &budget],
        &["doctor", "--budget", url],
        &["doctor", &json],
        &["migrate", "seer:hunter-two@db.example/seer"],
    ] {
        let output = seer(arguments).output().await.unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with("error: ") && said.contains('…'), "{said}");
        assert!(!said.contains("hunter-two") && !said.contains("hidden"), "{said}");
    }
}

#[tokio::test]
async fn concurrent_migrations_apply_once() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let url = cluster.url();
    let (one, other) = tokio::join!(migrate(&url), migrate(&url));
    let (one, other) = (printed(&one), printed(&other));
    let (worked, idle) = if one.starts_with("applied") {
        (one, other)
    } else {
        (other, one)
    };
    assert!(worked.lines().all(|line| line.starts_with("applied ")), "{worked}");
    assert_eq!(
        worked.lines().count(),
        shared::db::migrate::migrations(&functions::SERVICE).iter().count()
    );
    assert!(idle.starts_with("nothing to do"), "{idle}");
    assert!(printed(&migrate(&url).await).starts_with("nothing to do"));
}

#[tokio::test]
async fn migrate_waits_for_starting_server() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let url = cluster.url();
    cluster.stop(Shutdown::Fast).await.unwrap();
    // Connections are refused at least until the server has started, which takes longer than a connect.
    let (output, started) = tokio::join!(migrate(&url), cluster.start());
    started.unwrap();
    assert!(printed(&output).starts_with("applied"));
}

/// The refusals of a pooler without a free slot, and of databases that wake or recover.
#[tokio::test]
async fn migrate_waits_for_pooler_and_waking_server() {
    for (sqlstate, message) in [
        ("XX000", "(EMAXCONN) max client connections reached, limit: 200"),
        ("XX000", "endpoint is idle, retry"),
        ("57P03", "the database system is starting up"),
    ] {
        let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], cluster.port()));
        let proxy = Proxy::start(address).await.unwrap();
        let refusal = Refusal { sqlstate, message };
        proxy.set_admission(Admission::Refusing(refusal)).await;
        let url = proxy.url(&cluster.url());
        let (output, ()) = tokio::join!(migrate(&url), async {
            let repeated = async {
                while proxy.errors(sqlstate) < 2 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let repeated = tokio::time::timeout(EVENT_TIMEOUT, repeated).await;
            assert!(repeated.is_ok(), "{message}: it was not tried again");
            proxy.set_admission(Admission::Open).await;
        });
        assert!(printed(&output).starts_with("applied"), "{message}");
    }
}

#[tokio::test]
async fn migrate_failure_shows_no_secret() {
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let said = error(&migrate(&cluster.url_of("absent")).await);
    assert!(
        said.contains("create the database") && !said.contains(cluster.password()),
        "{said}"
    );
    let said = error(&migrate(&format!("{}?schemer=secret", cluster.url())).await);
    assert!(
        said.contains("schemer") && !said.contains("secret") && !said.contains(cluster.password()),
        "{said}"
    );
    let said = error(&seer(&["migrate"]).output().await.unwrap());
    assert!(said.contains("DATABASE_URL: is not set"), "{said}");
}

#[tokio::test]
async fn token_is_accepted_by_local_key() {
    let arguments = [
        "token",
        "--sub",
        "someone",
        "--email",
        "some@example.com",
        "--name",
        "Some One",
    ];
    let output = seer(&arguments).output().await.unwrap();
    let key = Path::new(SEER).ancestors().nth(2).unwrap().join("local/key");
    let key = DevelopmentKey::load_or_create(&key).unwrap();
    let claims = key.verify(printed(&output).trim_end()).unwrap();
    assert_eq!(
        (&claims["sub"], &claims["email"], &claims["name"]),
        (&"someone".into(), &"some@example.com".into(), &"Some One".into())
    );
}

#[tokio::test]
async fn token_of_seed_user_needs_only_the_name() {
    let output = seer(&["token", "dev-member"]).output().await.unwrap();
    let key = Path::new(SEER).ancestors().nth(2).unwrap().join("local/key");
    let key = DevelopmentKey::load_or_create(&key).unwrap();
    let claims = key.verify(printed(&output).trim_end()).unwrap();
    let seed = include_str!("../src/seed.sql");
    for name in ["sub", "email", "name"] {
        let claim = claims[name].as_str().unwrap();
        assert!(seed.contains(&format!("'{claim}'")), "{name}: {claim}");
    }
    for wrong in [&["token"][..], &["token", "nobody"], &["token", "--sub", "alone"]] {
        assert_eq!(seer(wrong).output().await.unwrap().status.code(), Some(2), "{wrong:?}");
    }
}

/// Runs a command whose output nobody reads, as before `| head` has read enough.
#[tokio::test]
async fn closed_pipe_is_no_panic() {
    let closed = || {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        Stdio::from(writer)
    };
    for (line, code) in [
        ("--help", 0),
        ("--version", 0),
        ("budget", 0),
        ("completions bash", 0),
        ("doctor --url postgres://nobody:nothing@127.0.0.1:9/nothing", 3),
        ("doctor --json --url postgres://nobody:nothing@127.0.0.1:9/nothing", 3),
        ("faults --list", 0),
        ("openapi", 0),
        ("openapi --check", 0),
        ("routes --check", 0),
        ("token dev-admin", 0),
        ("use-shared-pool src", 0),
        ("migrate", 1),
        ("token", 2),
    ] {
        for errors_too in [false, true] {
            let arguments: Vec<&str> = line.split(' ').collect();
            let mut command = seer(&arguments);
            command.stdout(closed());
            if errors_too {
                command.stderr(closed());
            }
            let output = command.output().await.unwrap();
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{line}: {said}");
            assert!(!said.contains("panicked"), "{line}: {said}");
        }
    }
}

#[tokio::test]
async fn version_and_completions_name_the_program() {
    let version = printed(&seer(&["--version"]).output().await.unwrap());
    assert_eq!(version.trim_end(), concat!("seer ", env!("CARGO_PKG_VERSION")));
    let script = printed(&seer(&["completions", "bash"]).output().await.unwrap());
    assert!(
        script.contains("complete -F _seer") && script.contains("use-shared-pool"),
        "{script}"
    );
}

#[tokio::test]
async fn openapi_document_matches_code() {
    printed(&seer(&["openapi", "--check"]).output().await.unwrap());
}

#[tokio::test]
async fn everything_follows_the_route_files() {
    let output = seer(&["routes", "--check"]).output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// An installed `seer` is used where no checkout is.
#[tokio::test]
async fn works_outside_a_checkout() {
    let elsewhere = tempfile::tempdir().unwrap();
    let at = async |arguments: &[&str], url: &str| {
        let mut command = seer(arguments);
        let command = command.current_dir(&elsewhere).env("DATABASE_URL", url);
        command.output().await.unwrap()
    };
    assert!(printed(&at(&["budget"], "").await).contains("It fits"));
    let cluster = Cluster::throwaway(Settings::default()).await.unwrap();
    let url = cluster.url();
    assert!(printed(&at(&["migrate"], &url).await).contains("applied"));
    let report = at(&["doctor", "--json"], &url).await;
    let report: serde_json::Value = serde_json::from_slice(&report.stdout).unwrap();
    let statements = report["schema"]["statements"].as_object().unwrap();
    assert!(statements["checked"].as_u64().unwrap() > 10, "{report:#}");
}

/// The files that `cargo seer routes` reads and writes, copied, and a cargo that finds them.
struct Copied(tempfile::TempDir);

impl Copied {
    const FILES: [&str; 5] = [
        "Cargo.toml",
        "functions/Cargo.toml",
        "functions/src/openapi/routes.rs",
        "README.md",
        "template.yaml",
    ];

    fn new() -> Self {
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let copied = Self(tempfile::tempdir().unwrap());
        for folder in ["functions/migrations", "functions/src/openapi"] {
            std::fs::create_dir_all(copied.path(folder)).unwrap();
        }
        for folder in ["functions/src/bin", "tests/events"] {
            std::fs::create_dir_all(copied.path(folder)).unwrap();
            for entry in std::fs::read_dir(checkout.join(folder)).unwrap() {
                let entry = entry.unwrap();
                std::fs::copy(entry.path(), copied.path(folder).join(entry.file_name())).unwrap();
            }
        }
        for file in Self::FILES {
            std::fs::copy(checkout.join(file), copied.path(file)).unwrap();
        }
        let root = copied.0.path().display();
        let metadata = format!("#!/bin/sh\necho '{{\"workspace_root\":\"{root}\",\"target_directory\":\"{root}\"}}'\n");
        copied.write("cargo", &metadata);
        std::fs::set_permissions(copied.path("cargo"), std::fs::Permissions::from_mode(0o755)).unwrap();
        copied
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap()
    }

    fn write(&self, file: &str, text: &str) {
        std::fs::write(self.path(file), text).unwrap();
    }

    async fn routes(&self, argument: &str) -> Output {
        let mut command = seer(&["routes", argument]);
        command.env("CARGO", self.path("cargo")).output().await.unwrap()
    }

    /// What `--check` names, and its error.
    async fn differences(&self) -> (String, String) {
        let output = self.routes("--check").await;
        (String::from_utf8(output.stdout.clone()).unwrap(), error(&output))
    }
}

#[tokio::test]
async fn new_route_is_written_everywhere() {
    let copied = Copied::new();
    let before = Copied::FILES.map(|file| copied.read(file));
    let other = copied.read("functions/src/bin/meetings-get.rs");
    let route = other.replace("GET /api/meetings/{id}", "GET /api/meetings/{id}/notes/{noteId}");
    copied.write("functions/src/bin/notes-get.rs", &route);

    let (found, error) = copied.differences().await;
    assert!(error.contains("run cargo seer routes --write"), "{error}");
    for expected in [
        "Cargo.toml: notes-get has no router entry",
        "functions/Cargo.toml: notes-get has no [[bin]]",
        "functions/src/openapi/routes.rs: notes-get has no module",
        "README.md: notes-get has no row",
        "template.yaml: notes-get has no function",
        "tests/events/notes-get.json is missing",
    ] {
        assert!(found.contains(expected), "{expected}: {found}");
    }
    assert_eq!(found.lines().count(), 6, "{found}");

    let written = printed(&copied.routes("--write").await);
    assert_eq!(written.lines().count(), 6, "{written}");
    for (file, expected) in [
        (
            "Cargo.toml",
            "\"/api/meetings/{id}/notes/{noteId}\" = [{ method = \"GET\", function = \"notes-get\" }]\n",
        ),
        (
            "functions/Cargo.toml",
            "\n[[bin]]\nname = \"notes-get\"\ntest = false\n\n",
        ),
        (
            "functions/src/openapi/routes.rs",
            "\n#[path = \"../bin/notes-get.rs\"]\nmod notes_get;\n",
        ),
        (
            "functions/src/openapi/routes.rs",
            "\n    route_file!(\"notes-get\", notes_get),\n",
        ),
        (
            "README.md",
            "| `notes-get` | GET /api/meetings/{id}/notes/{noteId} | one meeting the caller may see, with its ETag |\n",
        ),
        ("template.yaml", "  NotesGet:\n    Type: AWS::Serverless::Function\n"),
        (
            "tests/events/notes-get.json",
            "\"routeKey\": \"GET /api/meetings/{id}/notes/{noteId}\"",
        ),
    ] {
        let text = copied.read(file);
        assert!(text.contains(expected), "{file}: {expected}: {text}");
    }
    printed(&copied.routes("--check").await);

    // Without the file everything is as before, but for the event.
    std::fs::remove_file(copied.path("functions/src/bin/notes-get.rs")).unwrap();
    let (found, _) = copied.differences().await;
    assert!(
        found.contains("Cargo.toml: the router entry of notes-get has no route file"),
        "{found}"
    );
    let written = printed(&copied.routes("--write").await);
    assert!(
        written.contains("by hand: tests/events/notes-get.json has no route file"),
        "{written}"
    );
    assert_eq!(Copied::FILES.map(|file| copied.read(file)), before);
}

#[tokio::test]
async fn changed_path_is_reported() {
    let copied = Copied::new();
    let file = "functions/src/bin/tasks-all.rs";
    copied.write(
        file,
        &copied.read(file).replace("/api/meetings/tasks/all", "/api/tasks"),
    );
    let (found, _) = copied.differences().await;
    let says = "says \"GET /api/meetings/tasks/all\" instead of \"GET /api/tasks\"";
    for expected in [
        &format!("Cargo.toml: the router entry of tasks-all {says}"),
        &format!("template.yaml: the function of tasks-all {says}"),
        "README.md: the row of tasks-all says",
        "tests/events/tasks-all.json is not for GET /api/tasks: ",
    ] {
        assert!(found.contains(expected), "{expected}: {found}");
    }
}

/// A function with a property of its own keeps its block; outside of the markers nothing is touched.
#[tokio::test]
async fn customised_function_is_left_alone() {
    let copied = Copied::new();
    let before = copied.read("template.yaml");
    let location = "CodeUri: target/lambda/tasks-all/,";
    let changed = before.replace(location, &format!("{location} MemorySize: 1024,"));
    assert_ne!(changed, before);
    copied.write("template.yaml", &changed);
    printed(&copied.routes("--check").await);
}

#[tokio::test]
async fn contradictory_route_file_is_an_error() {
    let copied = Copied::new();
    let file = "functions/src/bin/tasks-all.rs";
    copied.write(
        file,
        &copied.read(file).replace("run(\"GET /api/meetings/", "run(\"GET /api/"),
    );
    let said = error(&copied.routes("--write").await);
    for expected in [file, "\"GET /api/meetings/tasks/all\"", "\"GET /api/tasks/all\""] {
        assert!(said.contains(expected), "{expected}: {said}");
    }
}

/// Nothing is written: without the description the library, and so this command, would not compile any more.
#[tokio::test]
async fn undescribed_route_is_an_error() {
    let copied = Copied::new();
    let file = "functions/src/bin/notes-get.rs";
    let other = copied.read("functions/src/bin/meetings-get.rs");
    let (route, _) = other.split_once("\nfunctions::describe!").unwrap();
    copied.write(file, &route.replace("/api/meetings/{id}", "/api/notes/{id}"));
    let before = Copied::FILES.map(|file| copied.read(file));
    let said = error(&copied.routes("--write").await);
    assert!(said.contains(file) && said.contains("functions::describe!"), "{said}");
    assert_eq!(Copied::FILES.map(|file| copied.read(file)), before);
}

#[tokio::test]
async fn taken_port_is_reported_first() {
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port().to_string();
    let output = seer(&["local", "--port", &port]).output().await.unwrap();
    assert!(error(&output).contains(&format!("port {port} is taken")));
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[tokio::test]
async fn unknown_scenario_lists_known_ones() {
    let arguments = ["faults", "--only", "refused", "--only", "refuted"];
    let said = error(&seer(&arguments).output().await.unwrap());
    for name in ["\"refuted\"", "write-cut", "cold-1000"] {
        assert!(said.contains(name), "{name}: {said}");
    }
    let peers = ["faults", "--peers", "--only", "write-cut"];
    let said = error(&seer(&peers).output().await.unwrap());
    assert!(
        said.contains("blackholed-while-frozen") && !said.contains("cold-1000"),
        "{said}"
    );
}

#[tokio::test]
async fn faults_are_listed_without_a_build() {
    let list = async |arguments: &[&str]| {
        let all = [&["faults", "--list"], arguments].concat();
        // Without cargo nothing can be built.
        let output = seer(&all).env("CARGO", "/nowhere/cargo").output().await.unwrap();
        let printed = printed(&output);
        let names: Vec<String> = printed
            .lines()
            .map(|line| line.split("  ").next().unwrap().to_owned())
            .collect();
        names
    };
    let all = list(&[]).await;
    assert!(
        all.contains(&"write-cut".to_owned()) && all.contains(&"cold-1000".to_owned()),
        "{all:?}"
    );
    assert_eq!(list(&["--only", "write-cut"]).await, ["write-cut"]);
    assert_eq!(
        list(&["--quick"]).await,
        ["hung-while-frozen", "restarted", "write-cut"]
    );
    assert_eq!(list(&["--quick", "--only", "read-only"]).await, ["read-only"]);
}

/// A quick run takes the binaries that `cargo local` builds. Cargo is a script here that prints how it was called.
#[tokio::test]
async fn quick_faults_build_no_release() {
    let folder = tempfile::tempdir().unwrap();
    let (cargo, called) = (folder.path().join("cargo"), folder.path().join("called"));
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = metadata ]; then exec '{}' \"$@\"; fi\necho \"$@\" >>'{}'\nexit 1\n",
        env!("CARGO"),
        called.display()
    );
    std::fs::write(&cargo, script).unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let output = seer(&["faults", "--quick"])
        .env("CARGO", &cargo)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("building the functions") && said.contains("do not build"),
        "{said}"
    );
    let called = std::fs::read_to_string(called).unwrap();
    assert_eq!(called.lines().count(), 1, "{called}");
    assert!(
        called.contains("--bin meetings-get") && !called.contains("--release"),
        "{called}"
    );
}

#[tokio::test]
async fn faults_of_a_function_need_its_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (read, write) = (file("read.json", "{}"), file("write.json", r#"{"body": "{{id}}"}"#));
    let contract = file("contract.toml", "[write]\ncount = ''");
    let said = async |arguments: &[&str]| {
        let all = [&["faults", "--function"], arguments].concat();
        error(&seer(&all).current_dir(folder.path()).output().await.unwrap())
    };
    assert!(
        said(&["nowhere", "--event", &read])
            .await
            .contains("there is no function nowhere")
    );
    assert!(said(&[SEER, "--event", &read, &write]).await.contains("{{id}}"));
    let incomplete = [SEER, "--event", &write, "--contract", &contract];
    assert!(said(&incomplete).await.contains("applied"));
    let listed = ["faults", "--list", "--quick", "--function", SEER, "--event", &read];
    let listed = printed(&seer(&listed).current_dir(folder.path()).output().await.unwrap());
    let names: Vec<_> = listed.lines().filter_map(|line| line.split("  ").next()).collect();
    assert_eq!(names, ["hung-while-frozen", "restarted"]);
    let unknown = [SEER, "--event", &read, "--only", "write-cut"];
    assert!(said(&unknown).await.contains("blackholed-while-frozen"));
}

/// Cargo is a script here that starts a compiler which never ends by itself, because a real build may be up to date.
#[tokio::test]
async fn build_ends_with_its_command() {
    let folder = tempfile::tempdir().unwrap();
    let (cargo, compiling) = (folder.path().join("cargo"), folder.path().join("compiling"));
    let script = format!(
        "#!/bin/sh\nif [ \"$1\" = metadata ]; then exec '{}' \"$@\"; fi\n: >'{}'\nexec sleep 100\n",
        env!("CARGO"),
        compiling.display()
    );
    std::fs::write(&cargo, script).unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    for signal in [Signal::TERM, Signal::INT] {
        let faults = seer(&["faults"])
            .env("CARGO", &cargo)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let begun = async {
            while std::fs::remove_file(&compiling).is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(EVENT_TIMEOUT, begun).await.unwrap();
        let id = Pid::from_raw(faults.id().unwrap().cast_signed()).unwrap();
        kill_process(id, signal).unwrap();
        // Its standard error ends when the compiler, which shares it, has ended too.
        let ended = tokio::time::timeout(EVENT_TIMEOUT, faults.wait_with_output());
        let output = ended.await.expect("the compiler runs on").unwrap();
        assert_eq!(output.status.code(), Some(130), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("building ") && said.contains("minutes"), "{said}");
        assert!(said.ends_with("interrupted: nothing was played\n"), "{said}");
    }
}
