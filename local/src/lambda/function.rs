//! A function's configuration, and the environment variables that Lambda sets for its process.
//!
//! Invariants: starts nothing. Depends on: Lambda's documented variables for an OS-only runtime.

use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) const ACCOUNT: &str = "123456789012";
pub(super) const VERSION: &str = "$LATEST";
const REGION: &str = "us-east-1";

/// A Lambda function: the binary and the configuration of its execution environments.
#[derive(Clone, Debug)]
pub struct Function {
    /// The name it is invoked by.
    pub name: String,
    /// The executable that implements a runtime, like `bootstrap` on Lambda.
    pub binary: PathBuf,
    /// Variables of the function's own configuration. They override those that Lambda sets.
    pub env: Vec<(String, String)>,
    /// The maximum duration of one invocation before its environment is killed.
    pub timeout: Duration,
    /// Memory in MB: passed to the process, not enforced.
    pub memory_mb: u32,
    /// Concurrent invocations per environment. A value above 1 is passed as `AWS_LAMBDA_MAX_CONCURRENCY`; classic
    /// Lambda is 1.
    pub max_concurrency: u32,
    /// Whether environments start from a snapshot: INIT, `/restore/next`, and each life continues from there.
    pub snap_start: bool,
    /// Maximum number of concurrent environments; an invocation that needs one more is throttled. `None`: no limit.
    pub reserved_concurrency: Option<usize>,
}

impl Function {
    /// Creates a function with Lambda's defaults: 3 s, 128 MB, one invocation at a time, no variables, no limit.
    pub fn new(name: impl Into<String>, binary: impl Into<PathBuf>) -> Self {
        Self {
            name: name.into(),
            binary: binary.into(),
            env: Vec::new(),
            timeout: Duration::from_secs(3),
            memory_mb: 128,
            max_concurrency: 1,
            snap_start: false,
            reserved_concurrency: None,
        }
    }

    pub(super) fn arn(&self) -> String {
        format!("arn:aws:lambda:{REGION}:{ACCOUNT}:function:{}", self.name)
    }

    /// Returns the directory of the code, which is also the working directory.
    pub(super) fn task_root(&self) -> &Path {
        self.binary.parent().unwrap_or(Path::new("/"))
    }

    /// Returns every variable of an environment's process: none is inherited from this process.
    pub(super) fn variables(&self, runtime_api: &str, environment: &str) -> Vec<(String, String)> {
        let date = chrono::Utc::now().format("%Y/%m/%d");
        let kind = if self.snap_start { "snap-start" } else { "on-demand" };
        let mut variables: Vec<(String, String)> = [
            ("_HANDLER", self.name.clone()),
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", self.memory_mb.to_string()),
            ("AWS_LAMBDA_FUNCTION_NAME", self.name.clone()),
            ("AWS_LAMBDA_FUNCTION_VERSION", VERSION.to_owned()),
            ("AWS_LAMBDA_INITIALIZATION_TYPE", kind.to_owned()),
            ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", self.name)),
            ("AWS_LAMBDA_LOG_STREAM_NAME", format!("{date}/[{VERSION}]{environment}")),
            ("AWS_LAMBDA_RUNTIME_API", runtime_api.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("LAMBDA_TASK_ROOT", self.task_root().display().to_string()),
            ("LANG", "en_US.UTF-8".to_owned()),
            ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin".to_owned()),
            ("TZ", ":UTC".to_owned()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        if self.max_concurrency > 1 {
            variables.push((
                "AWS_LAMBDA_MAX_CONCURRENCY".to_owned(),
                self.max_concurrency.to_string(),
            ));
        }
        variables.extend(self.env.iter().cloned());
        variables
    }
}
