//! What the programs of `servers` print, and what becomes of their clients.

mod common;

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Ended, Killed, backends, kill, run, run_with_input};

const SERVERS: &str = env!("CARGO_BIN_EXE_servers");

/// Runs a program with its sleeps shortened.
fn program(arguments: &str, scale: f64) -> Ended {
    run(Command::new(SERVERS)
        .args(arguments.split_whitespace())
        .args(["--scale", &scale.to_string()]))
}

/// Starts a program with `--clients 0`; gives back the address it listens on.
fn server(command: &mut Command) -> (Killed, SocketAddr) {
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let address = loop {
        let line = lines.next().expect("an address, before it ends").unwrap();
        if let Some(rest) = line.strip_prefix("listening on ") {
            break rest.split(',').next().unwrap().parse().unwrap();
        }
    };
    drop(lines);
    (Killed(child), address)
}

#[track_caller]
fn shouts(client: &mut TcpStream) {
    client.write_all(b"hello").unwrap();
    hears(client);
}

#[track_caller]
fn hears(client: &mut TcpStream) {
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"HELLO");
}

#[test]
fn p90_a_thread_per_connection() {
    let ended = program("p90", 0.05);
    let mut lines = ended.lines();
    lines.sort_unstable();
    assert_eq!(lines, [["HELLO"; 9], ["hello"; 9]].concat());
    ended.slept(3.0 * 2.0 * 0.05);
}

#[test]
fn p90_with_a_keyboard() {
    let mut command = Command::new(SERVERS);
    let ended = run_with_input(
        command.args(["p90", "--keyboard"]),
        "first\n\n  second line \nq\nnot sent\n",
    );
    let mut lines = ended.lines();
    // What the server prints may come before or after what the client prints.
    lines.sort_unstable();
    assert_eq!(lines, ["FIRST", "SECOND LINE", "first", "second line"]);
}

#[test]
fn p91_a_process_per_connection() {
    for backend in backends() {
        let mut command = Command::new(SERVERS);
        command.args(["p91", "--scale", "0.05"]);
        let ended = run(command.env("BINGFA_IO", backend));
        let mut lines = ended.lines();
        let mut pids: Vec<_> = lines.iter().filter_map(|line| pid_of(line)).collect();
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids.len(), 3, "{lines:?}");
        lines.retain(|line| pid_of(line).is_none());
        lines.sort_unstable();
        assert_eq!(lines, [["HELLO"; 9], ["从客户端收到了：hello"; 9]].concat());
        ended.slept(3.0 * 2.0 * 0.05);
    }
}

/// Of the process that says that a client has come.
fn pid_of(line: &str) -> Option<u32> {
    let (_, pid) = line.strip_prefix("客户端连接成功 ")?.split_once(", 进程")?;
    pid.parse().ok()
}

#[test]
fn p91_with_a_keyboard() {
    let mut command = Command::new(SERVERS);
    let ended = run_with_input(command.args(["p91", "--keyboard"]), "a line\nq\nnot sent\n");
    let lines = ended.lines();
    assert!(pid_of(lines[0]).is_some());
    assert_eq!(lines[1..], ["从客户端收到了：a line", "A LINE"]);
}

/// What a server prints from now on.
struct Lines<R>(std::io::Lines<BufReader<R>>);

impl<R: Read> Lines<R> {
    fn of(stream: &mut Option<R>) -> Lines<R> {
        Lines(BufReader::new(stream.take().unwrap()).lines())
    }

    /// The next line with this in it.
    #[track_caller]
    fn with(&mut self, part: &str) -> String {
        let mut lines = self.0.by_ref().map(Result::unwrap);
        lines.find(|line| line.contains(part)).expect("such a line")
    }

    /// The next line about this client.
    #[track_caller]
    fn about(&mut self, client: &TcpStream) -> String {
        self.with(&client.local_addr().unwrap().to_string())
    }
}

#[test]
fn p91_a_killed_process_takes_only_its_client_along() {
    let (mut server, address) = server(Command::new(SERVERS).args(["p91", "--clients", "0"]));
    let mut lines = Lines::of(&mut server.0.stdout);
    let mut served_by = |client: &mut TcpStream| {
        shouts(client);
        pid_of(&lines.about(client)).unwrap()
    };
    let mut clients = [(); 2].map(|()| TcpStream::connect(address).unwrap());
    let pids = clients.each_mut().map(&mut served_by);
    assert_ne!(pids[0], pids[1]);
    kill(pids[0]);
    assert_eq!(
        clients[0].read(&mut [0]).unwrap(),
        0,
        "nobody has it any more"
    );
    let died = Lines::of(&mut server.0.stderr).about(&clients[0]);
    assert!(died.contains("SIGKILL"), "{died}");
    shouts(&mut clients[1]);
    let new = served_by(&mut TcpStream::connect(address).unwrap());
    assert!(!pids.contains(&new));
}

#[test]
fn p91_there_are_not_more_processes_than_may_be() {
    let arguments = ["p91", "--clients", "0", "--at-most", "2"];
    let (_server, address) = server(Command::new(SERVERS).args(arguments));
    let mut clients = [(); 3].map(|()| TcpStream::connect(address).unwrap());
    shouts(&mut clients[0]);
    shouts(&mut clients[1]);
    let [mut first, second, mut third] = clients;
    third.write_all(b"hello").unwrap();
    // Longer than a third process would need to answer.
    (0..300).for_each(|_| shouts(&mut first));
    third.set_nonblocking(true).unwrap();
    assert!(third.read(&mut [0; 5]).is_err(), "there is no place for it");
    third.set_nonblocking(false).unwrap();
    drop(first);
    hears(&mut third);
    drop(second);
}

#[test]
fn a_client_that_leaves_harms_nobody() {
    for program in ["p90", "p91", "p92"] {
        let (_server, address) = server(Command::new(SERVERS).args([program, "--clients", "0"]));
        let mut stays = TcpStream::connect(address).unwrap();
        shouts(&mut stays);
        let mut leaves = TcpStream::connect(address).unwrap();
        shouts(&mut leaves);
        drop(leaves);
        let mut resets = TcpStream::connect(address).unwrap();
        resets.write_all(b"hello").unwrap();
        let mut peeked = [0; 1];
        resets.peek(&mut peeked).unwrap(); // the answer is here, and closing unread resets
        drop(resets);
        shouts(&mut stays);
        shouts(&mut TcpStream::connect(address).unwrap());
    }
}

#[test]
fn a_server_without_descriptors_goes_on_when_clients_leave() {
    for backend in backends() {
        for program in ["p90", "p92"] {
            let (mut server, address) = server(
                Command::new("sh")
                    .args(["-c", "ulimit -n 40 && exec \"$0\" \"$1\" --clients 0"])
                    .args([SERVERS, program])
                    .env("BINGFA_IO", backend),
            );
            let mut clients: Vec<_> = (0..60)
                .map(|_| TcpStream::connect(address).unwrap())
                .collect();
            for client in &mut clients {
                client.write_all(b"hello").unwrap();
            }
            let stderr = BufReader::new(server.0.stderr.take().unwrap());
            let mut complaints = stderr
                .lines()
                .map(Result::unwrap)
                .filter(|line| line.starts_with("accept: Too many open files"));
            complaints.next().expect("a complaint");
            // The first ones have been accepted; each that leaves lets another one in.
            for mut client in clients {
                hears(&mut client);
            }
            drop(server);
            let more = complaints.next();
            assert_eq!(more, None, "{program} on {backend}: it says so once");
        }
    }
}

#[test]
fn a_port_in_use_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ended = run(Command::new(SERVERS).args(["p90", "--port", &address.port().to_string()]));
    assert_eq!(ended.status.code(), Some(1));
    assert!(
        ended
            .stderr
            .contains(&format!("could not listen on {address}"))
    );
}

#[test]
fn p92_a_thousand_clients_hear_their_own_words_in_order() {
    for backend in backends() {
        for (clients, kind) in [("thread", "THREAD"), ("coroutine", "COROUTINE")] {
            let ended = run(Command::new(SERVERS)
                .args(["p92", "--clients-on", clients])
                .env("BINGFA_IO", backend));
            let mut heard: HashMap<&str, Vec<&str>> = HashMap::new();
            for line in ended.lines() {
                let (client, number) = line.split_once(" SAY ").unwrap();
                heard.entry(client).or_default().push(number);
            }
            for i in 1..=1000 {
                assert_eq!(heard[format!("{kind}-{i}").as_str()], ["0", "1", "2"]);
            }
            assert_eq!(heard.len(), 1000);
        }
    }
}

#[test]
fn p93_a_hundred_clients_hear_what_they_said() {
    for backend in backends() {
        let ended = run(Command::new(SERVERS).arg("p93").env("BINGFA_IO", backend));
        let mut heard: HashMap<&str, Vec<&str>> = HashMap::new();
        let mut received = 0;
        for line in ended.lines() {
            match line.split_once("recv from server: ") {
                Some((client, words)) => heard.entry(client).or_default().push(words),
                None => {
                    assert!(line.starts_with("recv: hello "), "{line}");
                    received += 1;
                }
            }
        }
        assert_eq!(received, 300);
        assert_eq!(heard.len(), 100);
        for words in heard.values() {
            assert_eq!(words, &["hello 0", "hello 1", "hello 2"]);
        }
    }
}

/// The seconds that each client waited for its greeting.
fn greetings(lines: &[&str]) -> Vec<f64> {
    lines
        .iter()
        .filter_map(|line| line.strip_prefix("欢迎访问服务器 ("))
        .map(|rest| rest.strip_suffix(" s)").unwrap().parse().unwrap())
        .collect()
}

const PREPARED: [&str; 5] = [
    "初始化服务器主机信息",
    "初始化服务器主机套接字对象.....",
    "绑定的主机信息.....",
    "开始启动服务器.....",
    "等待客户端连接",
];

#[test]
fn p100_the_second_client_waits_for_the_first() {
    let ended = program("p100", 0.01);
    let lines = ended.lines();
    assert_eq!(lines[..5], PREPARED);
    let free_again = lines.iter().rposition(|&line| line == PREPARED[4]).unwrap();
    assert_eq!(greetings(&lines[..free_again]).len(), 1);
    assert_eq!(greetings(&lines[free_again..]).len(), 1);
    ended.slept(100.0 * 0.01);
}

#[test]
fn p101_all_clients_are_greeted_before_any_is_let_go() {
    let ended = program("p101", 0.1);
    let lines = ended.lines();
    assert_eq!(lines[..5], PREPARED);
    let first_end = lines.iter().position(|&l| l == "关闭客服端").unwrap();
    assert_eq!(greetings(&lines[..first_end]).len(), 3);
    assert_eq!(lines.iter().filter(|&&l| l == "关闭客服端").count(), 3);
    ended.slept(10.0 * 0.1);
}

#[test]
fn p102_the_ticket_office_serves_one_after_the_other() {
    let ended = program("p102", 0.05);
    let lines = ended.lines();
    assert_eq!(lines[..5], PREPARED);
    let answers: Vec<_> = lines.iter().filter_map(|line| answer(line)).collect();
    let expected = [
        "1张票, 客户端1成功买到了一张票",
        "0张票, 客户端2成功买到了一张票",
        "0张票, 客户端3没有买到票",
    ];
    assert_eq!(answers, expected);
    ended.slept(3.0 * 5.0 * 0.05);
}

/// What a client of the ticket office says, without the time.
fn answer(line: &str) -> Option<&str> {
    let (answer, _) = line.strip_prefix("现在还剩下")?.split_once(" (")?;
    Some(answer)
}

#[test]
fn p103_two_of_many_clients_have_a_ticket_and_none_waits_for_another() {
    let ended = program("p103 --clients 8", 1.0);
    let lines = ended.lines();
    assert_eq!(lines[..5], PREPARED);
    let answers: Vec<_> = lines.iter().filter_map(|line| answer(line)).collect();
    assert_eq!(answers.len(), 8);
    let count = |part: &str| {
        answers
            .iter()
            .filter(|answer| answer.contains(part))
            .count()
    };
    assert_eq!(count("没有买到票"), 6, "{answers:?}");
    assert_eq!(count("成功"), 2, "{answers:?}");
    let one_left: Vec<_> = answers.iter().filter(|a| a.starts_with("1张票")).collect();
    assert_eq!(one_left.len(), 1);
    assert!(one_left[0].contains("成功"), "{answers:?}");
    ended.slept(5.0); // 40 s one after the other
}

#[test]
fn p104_datagrams_keep_their_limits() {
    for backend in backends() {
        let ended = run(Command::new(SERVERS).arg("p104").env("BINGFA_IO", backend));
        let lines = ended.lines();
        for client in ["[client 1] ", "[client 2] "] {
            let own: Vec<_> = lines
                .iter()
                .filter_map(|line| line.strip_prefix(client))
                .collect();
            let expected = [
                "sendto: 5 bytes 'hello'",
                "sendto: 0 bytes ''",
                "sendto: 38 bytes 'a datagram arrives whole or not at all'",
                "recvfrom: 5 bytes 'HELLO'",
                "recvfrom: 0 bytes ''",
                "recvfrom: 38 bytes 'A DATAGRAM ARRIVES WHOLE OR NOT AT ALL'",
            ];
            assert_eq!(own, expected);
        }
        assert_eq!(lines.len(), 12);
    }
}

#[test]
fn p109_every_thread_of_every_process_serves() {
    for backend in backends() {
        let mut command = Command::new(SERVERS);
        command.args(["p109", "--scale", "0.2", "--processes", "3"]);
        let ended = run(command.env("BINGFA_IO", backend));
        let lines = ended.lines();
        let (connections, totals) = lines.split_at(100);
        assert!(totals[0].starts_with("100 clients: "), "{lines:?}");
        let mut left = connections.len();
        let mut bytes = 0;
        for (i, line) in totals[1..].iter().enumerate() {
            let who = format!("process {} thread {}: ", 1 + i / 2, 1 + i % 2);
            let numbers: Vec<usize> = line
                .strip_prefix(&who)
                .unwrap_or_else(|| panic!("{line}"))
                .split(' ')
                .filter_map(|word| word.parse().ok())
                .collect();
            assert!(
                (1..=left).contains(&numbers[0]),
                "none for a thread: {lines:?}"
            );
            left -= numbers[0];
            assert!((1..=numbers[0]).contains(&numbers[1]), "{line}");
            bytes += numbers[2];
        }
        assert_eq!((totals.len(), left), (7, 0));
        assert_eq!(bytes, 100 * 3 * "hello 0".len());
        let process = |line: &&str| line.split(" thread ").next().map(String::from);
        let pids: HashSet<_> = connections.iter().filter_map(process).collect();
        assert_eq!(pids.len(), 3);
        ended.slept(3.0 * 0.1 * 0.2);
    }
}

#[test]
fn p109_a_killed_process_is_replaced() {
    let (mut server, address) = server(Command::new(SERVERS).args(["p109", "--clients", "0"]));
    let mut lines = Lines::of(&mut server.0.stdout);
    let mut visit = || -> io::Result<(TcpStream, u32)> {
        let mut client = TcpStream::connect(address)?;
        client.write_all(b"hello")?;
        let mut echo = [0; 5];
        client.read_exact(&mut echo)?;
        assert_eq!(&echo, b"hello");
        let pid = lines.about(&client).split(' ').nth(1).unwrap().parse();
        Ok((client, pid.unwrap()))
    };
    let mut pids = HashSet::new();
    let (mut client, pid) = loop {
        let (client, pid) = visit().unwrap();
        pids.insert(pid);
        if pids.len() == 2 {
            break (client, pid); // of the two that there are
        }
    };
    kill(pid);
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    let died = Lines::of(&mut server.0.stderr).with("another takes its place");
    assert!(
        died.contains(&pid.to_string()) && died.contains("SIGKILL"),
        "{died}"
    );
    let begin = Instant::now();
    loop {
        // An error: the kernel has not closed the dead one's listener yet.
        if visit().is_ok_and(|(_, pid)| pids.insert(pid)) {
            break; // it is a new one that serves
        }
        assert!(begin.elapsed() < Duration::from_secs(60));
    }
}
