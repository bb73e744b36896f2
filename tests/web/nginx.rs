//! nginx in front of a feed, as Debian ships it: only the addresses and folders are set.

use crate::common::not_run;
use crate::web::until;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// Runs until it is dropped.
pub struct Nginx {
    pub address: SocketAddr,
    master: Child,
    _folder: TempDir,
}

impl Nginx {
    /// Starts it in front of a server; `None`, said loudly, where there is none.
    pub fn before(server: SocketAddr) -> Option<Self> {
        let Some(program) = program() else {
            not_run("the web feed behind a proxy, there is no nginx here");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        // Free a moment ago. Where it is taken in between, nginx ends, and the test with it.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let place = folder.path().display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|it| format!("{it}_temp_path {place}/{it};\n"))
            .concat();
        let settings = format!(
            "daemon off; pid {place}/pid; error_log {place}/errors; worker_processes 1;\n\
             events {{}}\n\
             http {{ access_log off; {temporary}\n\
             server {{ listen {address}; location / {{ proxy_pass http://{server}; }} }} }}\n"
        );
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, settings).unwrap();
        let master = Command::new(program)
            .arg("-e")
            .arg(folder.path().join("errors"))
            .arg("-c")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        until("nginx", || TcpStream::connect(address).is_ok());
        Some(Nginx {
            address,
            master,
            _folder: folder,
        })
    }

    /// Kills the process that serves, with all its connections, wherever they are. Another one
    /// takes its place.
    pub fn kill(&self) {
        let mut worker = None;
        until("a worker", || {
            worker = self.worker();
            worker.is_some()
        });
        let status = Command::new("kill")
            .args(["-9", worker.as_ref().unwrap()])
            .status();
        assert!(status.unwrap().success());
        until("another worker", || {
            self.worker().is_some_and(|it| Some(it) != worker)
        });
    }

    /// Returns the process that serves.
    fn worker(&self) -> Option<String> {
        let master = self.master.id();
        let children = format!("/proc/{master}/task/{master}/children");
        let children = std::fs::read_to_string(children).ok()?;
        children.split_whitespace().next().map(str::to_owned)
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its master takes its workers along.
        let master = self.master.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &master]).status();
        let _ = self.master.wait();
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places: Vec<_> = std::env::split_paths(&path).collect();
    // Where Debian has it, which is not in everybody's path.
    places.push(Path::new("/usr/sbin").to_owned());
    let places = places.into_iter().map(|place| place.join("nginx"));
    places.into_iter().find(|place| place.is_file())
}
