//! A proxy that can be cut: what goes through it breaks off, and it takes nothing new meanwhile.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

pub struct Proxy {
    pub address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    target: SocketAddr,
    down: bool,
    refused: usize,
    open: Vec<TcpStream>,
}

impl Proxy {
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy {
            address: listener.local_addr().unwrap(),
            state: Arc::new(Mutex::new(State {
                target,
                down: false,
                refused: 0,
                open: Vec::new(),
            })),
        };
        let state = proxy.state.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let mut state = state.lock().unwrap();
                if state.down {
                    state.refused += 1;
                    continue;
                }
                let server = TcpStream::connect(state.target).unwrap();
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || pass(from, to));
                }
                state.open.extend([client, server]);
            }
        });
        proxy
    }

    /// Breaks off every connection, and closes new ones at once.
    pub fn cut(&self) {
        let mut state = self.state.lock().unwrap();
        state.down = true;
        for stream in state.open.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Takes connections again.
    pub fn mend(&self) {
        let mut state = self.state.lock().unwrap();
        (state.down, state.refused) = (false, 0);
    }

    /// Leads to another server from now on.
    pub fn lead_to(&self, target: SocketAddr) {
        self.state.lock().unwrap().target = target;
    }

    /// How many connections were refused since it was cut.
    pub fn refused(&self) -> usize {
        self.state.lock().unwrap().refused
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}
