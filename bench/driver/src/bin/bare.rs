//! The limits that the agent is measured against: the same exchange over blocking sockets, with nothing around it.
//!
//! `bare ping HOST PORT CA_FILE USER PAUSE_MS COUNT` sends `PING` over TLS, the password in `BENCH_PASSWORD`.
//! `bare scrape HOST PORT PATH ENCODING PAUSE_MS COUNT` asks an HTTP endpoint, on one connection that is kept.
//! Both print one line for each round trip: its nanoseconds, and for a scrape the bytes of the body.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["ping", host, port, ca_file, user, pause, count] => {
            ping(host, port.parse()?, ca_file, user, Pace::new(pause, count)?)
        }
        ["scrape", host, port, path, encoding, pause, count] => {
            scrape(host, port.parse()?, path, encoding, Pace::new(pause, count)?)
        }
        _ => Err("usage: bare ping HOST PORT CA_FILE USER PAUSE_MS COUNT, or \
                  bare scrape HOST PORT PATH ENCODING PAUSE_MS COUNT"
            .into()),
    }
}

/// How often something is done, and how long the loop rests between.
struct Pace {
    pause: Duration,
    count: u32,
}

impl Pace {
    fn new(pause: &str, count: &str) -> Outcome<Self> {
        Ok(Self { pause: Duration::from_millis(pause.parse()?), count: count.parse()? })
    }

    /// Does `exchange` again and again, and prints how long it took and what it tells.
    fn run(&self, mut exchange: impl FnMut() -> Outcome<usize>) -> Outcome<()> {
        let mut lines = String::new();
        for _ in 0..self.count {
            sleep(self.pause);
            let started = Instant::now();
            let told = exchange()?;
            lines += &format!("{} {told}\n", started.elapsed().as_nanos());
        }
        std::io::stdout().write_all(lines.as_bytes())?;
        Ok(())
    }
}

fn connect(host: &str, port: u16) -> Outcome<TcpStream> {
    let stream = TcpStream::connect((host, port))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn ping(host: &str, port: u16, ca_file: &str, user: &str, pace: Pace) -> Outcome<()> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca_file)?)?;
    let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let client = ClientConnection::new(Arc::new(config), ServerName::try_from(host.to_owned())?)?;
    let mut stream = StreamOwned::new(client, connect(host, port)?);
    let password = std::env::var("BENCH_PASSWORD")?;
    exchange(&mut stream, &["AUTH", user, &password], b"+OK\r\n")?;
    pace.run(|| exchange(&mut stream, &["PING"], b"+PONG\r\n"))
}

/// Sends a command and reads the reply, which must be `expected`.
fn exchange(
    stream: &mut StreamOwned<ClientConnection, TcpStream>,
    command: &[&str],
    expected: &[u8],
) -> Outcome<usize> {
    let mut request = format!("*{}\r\n", command.len());
    for word in command {
        request += &format!("${}\r\n{word}\r\n", word.len());
    }
    stream.write_all(request.as_bytes())?;
    stream.flush()?;
    let mut reply = [0; 7];
    let reply = &mut reply[..expected.len()];
    stream.read_exact(reply)?;
    if reply == expected { Ok(reply.len()) } else { Err("the server answered otherwise".into()) }
}

fn scrape(host: &str, port: u16, path: &str, encoding: &str, pace: Pace) -> Outcome<()> {
    let stream = connect(host, port)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept-Encoding: {encoding}\r\n\r\n");
    let mut reader = BufReader::new(stream);
    let mut body = Vec::new();
    pace.run(|| {
        reader.get_mut().write_all(request.as_bytes())?;
        read_response(&mut reader, &mut body)
    })
}

/// Reads a response into `body` and tells its length.
fn read_response(reader: &mut BufReader<TcpStream>, body: &mut Vec<u8>) -> Outcome<usize> {
    body.clear();
    let header = read_header(reader)?;
    let value = |name: &str| header.iter().find_map(|line| line.strip_prefix(name)).map(str::trim);
    if !header.first().is_some_and(|line| line.starts_with("http/1.1 200")) {
        return Err(format!("not a good answer: {:?}", header.first()).into());
    }
    if let Some(length) = value("content-length:") {
        body.resize(length.parse()?, 0);
        reader.read_exact(body)?;
        return Ok(body.len());
    }
    // Chunks: each after its length in hexadecimal, the last one empty.
    loop {
        let length = usize::from_str_radix(read_line(reader)?.trim(), 16)?;
        let end = body.len() + length;
        body.resize(end, 0);
        reader.read_exact(&mut body[end - length..])?;
        read_line(reader)?;
        if length == 0 {
            return Ok(body.len());
        }
    }
}

/// The lines of a header, in lower case.
fn read_header(reader: &mut BufReader<TcpStream>) -> Outcome<Vec<String>> {
    let mut lines = Vec::new();
    loop {
        let line = read_line(reader)?;
        if line.trim().is_empty() {
            return Ok(lines);
        }
        lines.push(line.to_lowercase());
    }
}

fn read_line(reader: &mut BufReader<TcpStream>) -> Outcome<String> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Err("the endpoint closed the connection".into());
    }
    Ok(line)
}
