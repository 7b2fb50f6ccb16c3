//! What a client says that knows the key but means harm.

use proptest::prelude::*;

use super::Client;
use super::auth::Key;
use super::client::Route;
use super::link::Outgoing;
use super::protocol::{Hello, Request, Welcome};
use super::state::{Session, State};

fn state() -> State {
    let route = Route::Path("/nowhere".into(), Key(Vec::new()));
    let welcome = Welcome {
        name: "test".into(),
        pid: 1,
        token: [7; 16],
    };
    State::new(Client::new(route, welcome, 1))
}

proptest! {
    /// Each list of bytes is one request; some make objects for others to use.
    #[test]
    fn any_requests_are_answered(
        requests in prop::collection::vec(prop::collection::vec(0..40u8, 1..20), 1..40),
        noise in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let state = state();
        let hello = Hello { pid: 1, instance: 2, fingerprint: 3 };
        let session = Session::new(&hello, Some("afar"));
        state.enter(&session);
        let mut out = Outgoing::default();
        // An object of each kind, but for a user's.
        for kind in 0..5 {
            let bytes = [0, kind];
            let create: Request<'_> = postcard::from_bytes(&bytes).unwrap();
            state.perform(&session, create, Vec::new(), &mut out).unwrap();
        }
        for bytes in requests.iter().chain([&noise]) {
            if let Ok(request) = postcard::from_bytes(bytes) {
                // Those that would wait are left.
                state.perform(&session, request, Vec::new(), &mut out).unwrap();
            }
        }
        state.leave(&session);
    }
}
