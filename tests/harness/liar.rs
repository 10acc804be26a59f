//! A worker that says whatever a test makes it say, to the real server process.

use crate::process::{DEADLINE, Finished};
use crate::{Lab, PLATFORM, binary};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

/// Its session. The server is told nothing when this is dropped; its input ends.
pub struct Liar {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    heard: Receiver<Value>,
}

impl Liar {
    /// Starts a server for the worker `liar`.
    pub fn connect(lab: &Lab) -> Liar {
        Liar::connect_as(lab, "liar")
    }

    /// Starts a server for a worker.
    pub fn connect_as(lab: &Lab, name: &str) -> Liar {
        let mut command = server(lab, name, "serve");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("a server");
        let input = child.stdin.take();
        let mut from = BufReader::new(child.stdout.take().expect("its output"));
        let (tell, heard) = channel();
        std::thread::spawn(move || {
            while let Some(message) = next(&mut from) {
                let _ = tell.send(message);
            }
        });
        Liar { name: name.to_owned(), child, input, heard }
    }

    /// Its server's process number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whose key it holds.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What an honest worker says first.
    pub fn greeting() -> Value {
        json!({"t": "hello", "protocol": 1, "platforms": [PLATFORM]})
    }

    /// Says it, once the server has.
    pub fn hello(&mut self) {
        self.hear_until("hello");
        self.say(&Liar::greeting(), b"");
    }

    /// Says something. That nobody listens any more is no failure here.
    pub fn say(&mut self, message: &Value, raw: &[u8]) {
        self.say_raw(&[message.to_string().as_bytes(), b"\n", raw].concat());
    }

    /// Says anything.
    pub fn say_raw(&mut self, bytes: &[u8]) {
        let _ = self.input.as_mut().expect("an input").write_all(bytes);
    }

    /// What the server says next; nothing when it has ended.
    pub fn try_hear(&mut self) -> Option<Value> {
        match self.heard.recv_timeout(DEADLINE) {
            Ok(message) => Some(message),
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => None,
            Err(e) => panic!("the server says nothing: {e}"),
        }
    }

    /// What the server has said already, if there is something.
    pub fn overhear(&mut self) -> Option<Value> {
        self.heard.try_recv().ok()
    }

    /// The next message of this type; what comes before it is passed over, but for a ping.
    pub fn hear_until(&mut self, kind: &str) -> Value {
        loop {
            let message = self.try_hear().unwrap_or_else(|| panic!("the server has ended and not said `{kind}`"));
            match message["t"].as_str() {
                Some(t) if t == kind => return message,
                Some("error") => panic!("instead of `{kind}`: {message}"),
                Some("ping") => self.say(&json!({"t": "pong"}), b""),
                _ => {}
            }
        }
    }

    /// Waits for the server's end. Returns the error that it has said, if it has.
    pub fn last_words(&mut self) -> Option<Value> {
        let mut last = None;
        while let Some(message) = self.try_hear() {
            last = Some(message).filter(|message| message["t"] == "error").or(last);
        }
        last
    }

    /// Waits for the server's end.
    pub fn is_hung_up_on(&mut self) {
        self.last_words();
        crate::wait_for("the server has ended", || self.child.try_wait().expect("its status").is_some());
    }

    /// Uploads contents by OpenSSH's `sftp`.
    pub fn upload(&self, lab: &Lab, files: &[(&str, &[u8])]) {
        self.try_upload(lab, files).expect("an upload");
    }

    /// As [`Liar::upload`]; what it was refused with.
    pub fn try_upload(&self, lab: &Lab, files: &[(&str, &[u8])]) -> Result<(), String> {
        let dir = tempfile::Builder::new().prefix("lies").tempdir_in(lab.path("")).expect("a directory");
        let mut batch = String::new();
        for (name, content) in files {
            std::fs::write(dir.path().join(name), content).expect("a file");
            batch += &format!("put {name}\n");
        }
        let file = dir.path().join("batch of all");
        std::fs::write(&file, batch).expect("a batch");
        let server = server(lab, &self.name, "internal-sftp");
        let words: Vec<_> = server.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let program = format!("{} {}", server.get_program().to_string_lossy(), words.join(" "));
        let mut sftp = Command::new("sftp");
        sftp.arg("-b").arg(&file).arg("-D").arg(program).current_dir(dir.path());
        sftp.envs(server.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let done = Finished::of(&mut sftp);
        if done.code == 0 { Ok(()) } else { Err(done.stderr) }
    }

    /// Where its uploads arrive.
    pub fn upload_area(&self, lab: &Lab) -> PathBuf {
        let mut active = lab.spool.active_builds().expect("the running builds").into_iter();
        let ours = |lease: &spool::record::Lease| lease.worker.as_str() == self.name;
        let build = active.find(|build| build.lease().ok().flatten().as_ref().is_some_and(ours));
        build.expect("a build").dir().join("upload")
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.input.take();
        let _ = self.child.wait();
    }
}

fn server(lab: &Lab, name: &str, asked: &str) -> Command {
    let mut command = Command::new(binary("builder-run"));
    command.args(["serve", "--local", "--worker", name, "--spool"]).arg(lab.root());
    command.arg("--config").arg(lab.config()).env("SSH_ORIGINAL_COMMAND", asked);
    command
}

/// A message; raw bytes behind it are passed over.
fn next(from: &mut impl BufRead) -> Option<Value> {
    let mut line = String::new();
    if from.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let message: Value = serde_json::from_str(&line).expect("a message");
    let raw = message["n"].as_u64().unwrap_or(0);
    std::io::copy(&mut from.by_ref().take(raw), &mut std::io::sink()).ok()?;
    Some(message)
}
