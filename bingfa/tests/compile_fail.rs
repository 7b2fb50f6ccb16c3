//! What must not compile: the bounds that keep coroutines sound.

#[test]
fn bounds() {
    let tests = trybuild::TestCases::new();
    tests.pass("tests/compile_fail/allowed.rs");
    tests.compile_fail("tests/compile_fail/spawn_*.rs");
    tests.compile_fail("tests/compile_fail/scope_*.rs");
    tests.compile_fail("tests/compile_fail/handle_*.rs");
    tests.compile_fail("tests/compile_fail/local_*.rs");
    tests.compile_fail("tests/compile_fail/guard_*.rs");
}
