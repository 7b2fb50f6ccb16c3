//! Queues between processes. The programs print the lines of the notes.
//!
//! A queue travels to a child among its arguments. It lies in memory that both share, with no
//! thread to feed it: a producer may end as soon as its last `put` is back, and one that is
//! killed loses nothing that it had put.

mod basics;
mod blocked;
mod buns;
mod dishes;

use std::process::ExitCode;

use bingfa::process;
use bingfa_examples::{Scale, exit};
use clap::{Parser, Subcommand, ValueEnum};

/// Queues between processes: messages, and producers and consumers that find an end
#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    program: Program,
    #[command(flatten)]
    scale: Scale,
}

#[derive(Subcommand)]
enum Program {
    /// P16: what a queue does
    #[command(visible_alias = "p16")]
    Basics {
        #[arg(value_enum, default_value_t = Basics::Six)]
        version: Basics,
    },
    /// P17: one child puts, another gets
    #[command(visible_alias = "p17")]
    Children {
        #[arg(value_enum, default_value_t = Children::Dish)]
        version: Children,
    },
    /// P18: a child puts, main gets
    #[command(visible_alias = "p18")]
    Parent {
        #[arg(value_enum, default_value_t = Parent::List)]
        version: Parent,
    },
    /// P19: two put and two get, with one place in the queue
    #[command(visible_alias = "p19")]
    OnePlace,
    /// P20: a consumer that waits for ever, and is seen to
    #[command(visible_alias = "p20")]
    NoEnd,
    /// P21: the producer says that there is no more
    #[command(visible_alias = "p21")]
    EndByProducer,
    /// P22: main says that there is no more
    #[command(visible_alias = "p22")]
    EndByMain {
        #[arg(value_enum, default_value_t = EndByMain::Right)]
        version: EndByMain,
    },
    /// P23: three producers, and an end for each consumer
    #[command(visible_alias = "p23")]
    Kitchen {
        #[arg(value_enum, default_value_t = Kitchen::Two)]
        version: Kitchen,
    },
    /// P24: consumers who do not wait for ever
    #[command(visible_alias = "p24")]
    Patience {
        #[arg(value_enum, default_value_t = Patience::Four)]
        version: Patience,
    },
    /// P25: main waits until all dishes are eaten; the consumers are daemons
    #[command(visible_alias = "p25")]
    Dishes,
    /// P26: the same, and then poison for each consumer
    #[command(visible_alias = "p26")]
    Poison,
    /// P27: the consumer is terminated when all is consumed
    #[command(visible_alias = "p27")]
    Terminate,
}

#[derive(Clone, Copy, ValueEnum)]
enum Basics {
    Six,
    /// What is commented out in the notes: full and empty, with and without waiting
    Probes,
}

#[derive(Clone, Copy, ValueEnum)]
enum Children {
    Dish,
    /// The getter starts first, and both say what they do
    List,
}

#[derive(Clone, Copy, ValueEnum)]
enum Parent {
    List,
    /// Main waits 10 s
    Late,
}

#[derive(Clone, Copy, ValueEnum)]
enum EndByMain {
    /// When the producer has ended
    Right,
    /// At once
    Wrong,
}

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Kitchen {
    /// Two consumers, three ends
    Two,
    /// Five consumers, three ends
    Five,
}

#[derive(Clone, Copy, ValueEnum)]
enum Patience {
    /// Three cooks, four eaters, who complain after 20 s without food
    Four,
    /// Two cooks, two eaters, who complain after 5 s
    Homework,
}

fn main() -> ExitCode {
    process::init();
    let Cli { program, scale } = Cli::parse();
    exit(match program {
        Program::Basics { version } => basics::basics(version, scale),
        Program::Children { version } => basics::between_children(version),
        Program::Parent { version } => basics::to_parent(version, scale),
        Program::OnePlace => basics::one_place(),
        Program::NoEnd => buns::no_end(scale),
        Program::EndByProducer => buns::end_by_producer(scale),
        Program::EndByMain { version } => match version {
            EndByMain::Right => buns::end_by_main(scale),
            EndByMain::Wrong => buns::end_too_early(scale),
        },
        Program::Kitchen { version } => buns::kitchen(version, scale),
        Program::Patience { version } => dishes::patience(version, scale),
        Program::Dishes => dishes::dishes(false, scale),
        Program::Poison => dishes::dishes(true, scale),
        Program::Terminate => dishes::terminate(scale),
    })
}
