//! [`select!`](crate::select): a [`Select`](super::Select) with its arms and their outcomes in one place.

/// Waits for the first of several things and runs what belongs to it.
///
/// | arm | the thing | the outcome |
/// |---|---|---|
/// | `get(queue) -> item => ...` | an item of a queue | as of [`Get::take`](crate::queue::Get::take) |
/// | `put(queue, item) -> put => ...` | room for an item | as of [`Put::take`](crate::queue::Put::take) |
/// | `recv(receiver) -> message => ...` | a message of a channel | as of [`Receiving::take`](crate::queue::Receiving::take) |
/// | `send(sender, message) -> send => ...` | room for a message | as of [`Sending::take`](crate::queue::Sending::take) |
/// | `join(queue) => ...` | a queue with nothing left to do | |
/// | `wait(handle) => ...` | the end of its thread or coroutine (also one of a scope), so that `join` does not wait | |
/// | `arm(expression) -> arm => ...` | any [`Selectable`](crate::queue::Selectable) | that arm |
/// | `timeout(duration) => ...` | nothing, for so long; at most one, the last | |
/// | `default => ...` | nothing right now; instead of a timeout | |
///
/// Queues and channels between processes ([`process::Queue`](crate::process::Queue)) are arms by
/// the same words, and `arm(event.wait_async())` is one for events of both kinds.
///
/// `-> pattern` may be left out. Among several that are ready a random one wins. The others
/// have done nothing; an item that was to be put is dropped with its arm (keep hold of it with
/// [`Select`](crate::queue::Select), which can do all that this macro can).
///
/// # Cancellation
/// As of [`Select`](crate::queue::Select): a cancelled select has done nothing.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use bingfa::{coroutine, queue::Queue, select};
///
/// let jobs = Queue::unbounded();
/// let results = Queue::bounded(1);
/// jobs.put(2).unwrap();
/// let mut helper = coroutine::spawn(coroutine::park);
///
/// let what = select! {
///     get(jobs) -> job => format!("job {}", job.unwrap()),
///     wait(helper) => "the helper has ended".to_string(),
///     timeout(Duration::from_secs(60)) => "nothing to do".to_string(),
/// };
/// assert_eq!(what, "job 2");
///
/// select! {
///     put(results, 4) -> put => put.unwrap(),
///     default => panic!("no room"),
/// }
/// # helper.cancel();
/// ```
#[macro_export]
macro_rules! select {
    // What an arm of each kind is.
    (@arm get($queue:expr)) => { $queue.get_async() };
    (@arm put($queue:expr, $item:expr $(,)?)) => { $queue.put_async($item) };
    (@arm recv($receiver:expr)) => { $receiver.recv_async() };
    (@arm send($sender:expr, $message:expr $(,)?)) => { $sender.send_async($message) };
    (@arm join($queue:expr)) => { $queue.join_async() };
    (@arm wait($handle:expr)) => { &mut $handle };
    (@arm arm($arm:expr)) => { $arm };

    // And what it gives.
    (@outcome wait $arm:ident) => { () };
    (@outcome arm $arm:ident) => { $arm };
    (@outcome $kind:ident $arm:ident) => { $arm.take() };

    // Arms are read one by one; each gets an identifier of its own (by hygiene).
    (@read [$($arms:tt)*] timeout($limit:expr) => $body:expr $(,)?) => {
        $crate::select!(@run [$($arms)*] wait_timeout($limit) {$body})
    };
    (@read [$($arms:tt)*] default => $body:expr $(,)?) => {
        $crate::select!(@run [$($arms)*] try_now() {$body})
    };
    (@read [$($arms:tt)*]) => {
        $crate::select!(@run [$($arms)*] wait() {})
    };
    (@read [$($arms:tt)*] $kind:ident $args:tt $(-> $outcome:pat)? => $body:block, $($rest:tt)*) => {
        $crate::select!(@read [$($arms)* {arm $kind $args [$($outcome)?] $body}] $($rest)*)
    };
    (@read [$($arms:tt)*] $kind:ident $args:tt $(-> $outcome:pat)? => $body:block $($rest:tt)*) => {
        $crate::select!(@read [$($arms)* {arm $kind $args [$($outcome)?] $body}] $($rest)*)
    };
    (@read [$($arms:tt)*] $kind:ident $args:tt $(-> $outcome:pat)? => $body:expr, $($rest:tt)*) => {
        $crate::select!(@read [$($arms)* {arm $kind $args [$($outcome)?] $body}] $($rest)*)
    };
    (@read [$($arms:tt)*] $kind:ident $args:tt $(-> $outcome:pat)? => $body:expr) => {
        $crate::select!(@read [$($arms)* {arm $kind $args [$($outcome)?] $body}])
    };

    (@run [$({$arm:ident $kind:ident $args:tt $outcome:tt $body:expr})*] $wait:ident($($limit:expr)?) $otherwise:tt) => {{
        $(let mut $arm = $crate::select!(@arm $kind $args);)*
        let select = $crate::queue::Select::new()$(.arm(&mut $arm))*;
        let won: ::core::option::Option<usize> = ::core::convert::From::from(select.$wait($($limit)?));
        $crate::select!(@act won (0) [$({$arm $kind $outcome $body})*] $otherwise)
    }};

    // Each number in turn.
    (@act $won:ident ($number:expr) [{$arm:ident $kind:ident [$($outcome:pat)?] $body:expr} $($rest:tt)*] $otherwise:tt) => {
        if $won == ::core::option::Option::Some($number) {
            $(let $outcome = $crate::select!(@outcome $kind $arm);)?
            $body
        } else {
            $crate::select!(@act $won ($number + 1) [$($rest)*] $otherwise)
        }
    };
    (@act $won:ident ($number:expr) [] {}) => {
        ::core::unreachable!("without a limit an arm has won")
    };
    (@act $won:ident ($number:expr) [] $otherwise:tt) => { $otherwise };

    (@ $($unknown:tt)*) => {
        ::core::compile_error!("select!: an arm is `get(queue) -> item => ...`, and a `timeout` or `default` comes last")
    };
    ($($arms:tt)+) => { $crate::select!(@read [] $($arms)+) };
}
