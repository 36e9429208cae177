//! ResNet-50 cut into five blocks, and a server of it.

use std::io::{BufRead, BufReader, Error, Result};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

pub(crate) const CUTS: [&str; 4] = ["layer1_out", "layer2_out", "layer3_out", "layer4_out"];
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_blockflow");

/// The program, serving a configuration; it ends with the benchmark, however that ends.
pub(crate) struct Server {
    child: Child,
    /// Stays open, for it may write there.
    _stdout: BufReader<ChildStdout>,
    /// Host and port that it listens on.
    pub(crate) address: String,
}

impl Server {
    /// Waits until it listens. Its state lies beside the configuration.
    pub(crate) fn start(config: &Path) -> Result<Self> {
        let mut child = Command::new(PROGRAM)
            .args(["run", "--http", "127.0.0.1:0"])
            .arg(config)
            .arg("--state")
            .arg(config.with_extension("state"))
            .stdout(Stdio::piped())
            .spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut first = String::new();
        stdout.read_line(&mut first)?;
        let address = first.split("http://").nth(1);
        let address = address.and_then(|rest| rest.split_whitespace().next());
        let Some(address) = address.map(str::to_owned) else {
            child.kill()?;
            child.wait()?;
            return Err(Error::other(format!("it does not listen: {first:?}")));
        };
        Ok(Self {
            child,
            _stdout: stdout,
            address,
        })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is as good as killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns the configuration of a pipeline `resnet50`, whose blocks live together or each in a process of its own.
pub(crate) fn configuration(model: &Path, apart: bool) -> String {
    let mut text = String::new();
    let mut flow = Vec::new();
    for index in 0..=CUTS.len() {
        let model = model.display().to_string();
        text += &format!("[blocks.stage{index}]\nmodel = {model:?}\n");
        if apart {
            text += "isolation = \"process\"\n";
        }
        if index > 0 {
            text += &format!("inputs = [{:?}]\n", CUTS[index - 1]);
        }
        if index < CUTS.len() {
            text += &format!("outputs = [{:?}]\n", CUTS[index]);
        }
        flow.push(format!("\"stage{index}\""));
    }
    text + &format!(
        "[pipelines.resnet50]\nflow = [{}]\ndeadline_ms = 60000\n",
        flow.join(", ")
    )
}
