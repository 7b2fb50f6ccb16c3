//! Guards are looked at by asking the kernel to read: nothing here faults.

use std::fs;
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::ptr;

use corosensei::Coroutine;

use super::*;
use crate::stack::Owner;
use crate::sys::mem::{PAGE, is_readable};

const KIB: usize = 1024;

/// A pool of each kind that this kernel can have.
fn pools() -> Vec<StackPool> {
    let kinds = [GuardPages::Install, GuardPages::Protect];
    let pools: Vec<_> = kinds.into_iter().flat_map(StackPool::new).collect();
    let kinds: Vec<_> = pools
        .iter()
        .map(|pool| match pool.guard {
            Guard::Install => GuardPages::Install,
            Guard::Protect(_) => GuardPages::Protect,
        })
        .collect();
    assert!(kinds.contains(&GuardPages::Protect));
    assert!(kinds.contains(&GuardPages::Auto.resolve().unwrap()));
    pools
}

fn budget(limit: usize) -> &'static ProtectBudget {
    Box::leak(Box::new(ProtectBudget::new(limit, 65_530)))
}

fn guard_len(stack: &Stack) -> usize {
    guard_size(SMALLEST_SLOT << stack.class())
}

fn limit_of(stack: &Stack) -> usize {
    stack.limit().get()
}

fn is_guarded(stack: &Stack) -> bool {
    let limit = limit_of(stack);
    let mut pages = (limit..limit + guard_len(stack)).step_by(PAGE);
    pages.all(|page| !is_readable(page))
}

/// Writes to the upper `bytes / PAGE` pages of the slot.
fn touch(stack: &Stack, bytes: usize) {
    let end = limit_of(stack) + (SMALLEST_SLOT << stack.class());
    for page in 1..=bytes / PAGE {
        // SAFETY: the tests ask for less than the stack has, and nobody runs on it.
        unsafe { ptr::with_exposed_provenance_mut::<u8>(end - page * PAGE).write_volatile(1) };
    }
}

fn mappings_in(slabs: &[Slab]) -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let starts = maps.lines().map(|line| {
        let (start, _) = line.split_once('-').unwrap();
        usize::from_str_radix(start, 16).unwrap()
    });
    let inside = |at: &usize| {
        slabs.iter().any(|slab| {
            (slab.mapping.start()..slab.mapping.start() + slab.mapping.len()).contains(at)
        })
    };
    starts.filter(inside).count()
}

#[test]
fn sizes_are_rounded_up_to_powers_of_two() {
    for mut pool in pools() {
        for (asked, slot) in [
            (0, 16 * KIB),
            (16 * KIB, 16 * KIB),
            (16 * KIB + 1, 32 * KIB),
            (256 * KIB, 256 * KIB),
            (300 * KIB, 512 * KIB),
            (8 << 20, 8 << 20),
            (100 << 20, 128 << 20),
        ] {
            let stack = pool.take(asked).unwrap();
            let colour = limit_of(&stack) + slot - stack.base().get();
            assert_eq!(guard_len(&stack) + stack.size() + colour, slot);
            assert!(is_guarded(&stack));
            touch(&stack, 8 * KIB);
            pool.give(stack);
        }
    }
}

#[test]
fn an_absurd_size_is_an_error_that_says_so() {
    let mut pool = StackPool::new(GuardPages::Auto).unwrap();
    for size in [LARGEST_SLOT + 1, usize::MAX] {
        let error = pool.take(size).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        assert!(error.to_string().contains("1 TiB"), "{error}");
    }
}

#[test]
fn address_space_that_runs_out_is_an_error_with_the_remedy() {
    let mut pool = StackPool::new(GuardPages::Auto).unwrap();
    // User space has 128 TiB.
    let error = (0..=128)
        .find_map(|_| pool.take(LARGEST_SLOT).err())
        .expect("more than there is");
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    let text = error.to_string();
    for word in ["1073741824 KiB", "RLIMIT_AS", "overcommit"] {
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn under_a_limit_of_address_space_the_error_comes_before_malloc_fails() {
    const VARIABLE: &str = "BINGFA_TEST_ADDRESS_SPACE";
    if std::env::var_os(VARIABLE).is_some() {
        let mut pool = StackPool::new(GuardPages::Auto).unwrap();
        let mut stacks = Vec::new();
        let error = loop {
            match pool.take(64 * KIB) {
                Ok(stack) => stacks.push(stack),
                Err(error) => break error,
            }
        };
        // As malloc does for a large block; from its own reserves it might still serve one.
        Mapping::reserve(SPARE / 2).unwrap();
        assert!(stacks.len() > 1000, "{}", stacks.len());
        return println!("{error}");
    }
    let (_, this_module) = module_path!().split_once("::").unwrap();
    let name = "under_a_limit_of_address_space_the_error_comes_before_malloc_fails";
    let child = Command::new("sh")
        .args(["-c", "ulimit -v 400000 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{this_module}::{name}"), "--nocapture"])
        .env(VARIABLE, "1")
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success(), "{child:?}");
    assert!(stdout.contains("stack of 64 KiB"), "{stdout}");
    assert!(stdout.contains("RLIMIT_AS"), "{stdout}");
}

#[test]
fn the_guard_faults_and_the_rest_does_not() {
    for mut pool in pools() {
        let stacks: Vec<_> = (0..20).map(|_| pool.take(64 * KIB).unwrap()).collect();
        for stack in &stacks {
            assert!(is_guarded(stack));
            let limit = stack.limit().get();
            assert!(is_readable(limit + guard_len(stack)));
            assert!(is_readable(stack.base().get() - 8));
            assert!(!stack.extent().contains(limit));
            assert!(stack.extent().contains(limit + guard_len(stack)));
            assert!(stack.extent().contains(stack.base().get() - 1));
            assert!(!stack.extent().contains(limit + 64 * KIB));
        }
    }
}

#[test]
fn the_stack_given_back_last_is_taken_first() {
    for mut pool in pools() {
        let [a, b] = [(); 2].map(|()| pool.take(64 * KIB).unwrap());
        let (a_limit, b_limit) = (a.limit(), b.limit());
        pool.give(b);
        pool.give(a);
        let other_size = pool.take(128 * KIB).unwrap();
        assert!(![a_limit, b_limit].contains(&other_size.limit()));
        let first = pool.take(64 * KIB).unwrap();
        assert_eq!(first.limit(), a_limit);
        assert!(is_guarded(&first));
        assert_eq!(pool.take(64 * KIB).unwrap().limit(), b_limit);
    }
}

#[test]
fn neighbours_start_on_different_cache_lines() {
    let mut pool = StackPool::new(GuardPages::Auto).unwrap();
    let stacks: Vec<_> = (0..32).map(|_| pool.take(64 * KIB).unwrap()).collect();
    let colours: Vec<_> = stacks
        .iter()
        .map(|stack| stack.limit().get() + 64 * KIB - stack.base().get())
        .collect();
    for neighbours in colours.windows(16) {
        let mut lines = neighbours.to_vec();
        lines.sort();
        assert_eq!(lines, Vec::from_iter((0..1024).step_by(64)));
    }
}

#[test]
fn a_control_area_lies_above_the_frames_until_the_stack_is_given_back() {
    let mut pool = StackPool::new(GuardPages::Auto).unwrap();
    let mut stack = pool.take(64 * KIB).unwrap();
    let top = stack.base().get();
    let area = stack.reserve(100, 64).addr().get();
    assert!(area.is_multiple_of(64) && area + 100 <= top);
    let below = stack.reserve(1, 1).addr().get();
    assert!(below < area);
    let base = stack.base().get();
    assert!(base <= below && base.is_multiple_of(16) && top - base < 256);
    assert!(stack.extent().contains(area) && stack.extent().contains(below));
    pool.give(stack);
    assert_eq!(pool.take(64 * KIB).unwrap().base().get(), top);
}

#[test]
#[should_panic(expected = "leaves nothing")]
fn a_control_area_cannot_eat_the_stack() {
    let mut pool = StackPool::new(GuardPages::Auto).unwrap();
    pool.take(16 * KIB).unwrap().reserve(8 * KIB + 1, 16);
}

#[test]
fn giving_a_stack_back_forgets_its_owner() {
    let mut pool = StackPool::new(GuardPages::Auto).unwrap();
    let owner = Owner {
        id: 1,
        name_ptr: ptr::null(),
        name_len: 0,
    };
    let stack = pool.take(64 * KIB).unwrap();
    // SAFETY: the owner outlives the pool's use below.
    unsafe { stack.set_owner(&owner) };
    assert!(ptr::eq(stack.owner(), &owner));
    pool.give(stack);
    assert!(pool.take(64 * KIB).unwrap().owner().is_null());
}

#[test]
fn high_water_counts_the_deepest_page_touched() {
    for mut pool in pools() {
        let stack = pool.take(8 << 20).unwrap();
        assert_eq!(stack.extent().high_water(), 0);
        touch(&stack, PAGE);
        assert_eq!(stack.extent().high_water(), PAGE);
        touch(&stack, 3 << 20);
        assert_eq!(stack.extent().high_water(), 3 << 20);
        touch(&stack, PAGE);
        assert_eq!(stack.extent().high_water(), 3 << 20);
        let all = (8 << 20) - guard_len(&stack);
        touch(&stack, all);
        assert_eq!(stack.extent().high_water(), all);
    }
}

#[test]
fn trim_frees_the_cold_stacks_and_keeps_their_guards() {
    for mut pool in pools() {
        let stacks: Vec<_> = (0..10).map(|_| pool.take(64 * KIB).unwrap()).collect();
        for stack in &stacks {
            touch(stack, 32 * KIB);
            assert_eq!(stack.extent().high_water(), 32 * KIB);
        }
        for stack in stacks {
            pool.give(stack);
        }
        pool.trim(3);
        let used = |stack: &Stack| stack.extent().high_water() > 0;
        let class = &pool.classes[2];
        let trimmed: Vec<_> = class.free.iter().map(|stack| !used(stack)).collect();
        assert_eq!(trimmed, [[true; 7].as_slice(), &[false; 3]].concat());
        assert!(class.free.iter().all(is_guarded));
        assert_eq!(class.clean, 7);

        pool.trim(20);
        assert_eq!(pool.classes[2].clean, 7);
        pool.trim(0);
        assert!(!pool.classes[2].free.iter().any(used));

        // A stack that was used again is trimmed again.
        let stack = pool.take(64 * KIB).unwrap();
        assert_eq!(pool.classes[2].clean, 9);
        touch(&stack, PAGE);
        pool.give(stack);
        pool.trim(0);
        assert!(!pool.classes[2].free.iter().any(used));
        assert_eq!(pool.classes[2].clean, 10);
    }
}

#[test]
fn protect_refuses_beyond_its_budget_and_says_why() {
    let budget = budget(40);
    let mut pool = StackPool::with_guard(Guard::Protect(budget));
    let mut other = StackPool::with_guard(Guard::Protect(budget));
    let mut stacks: Vec<_> = (0..39).map(|_| pool.take(16 * KIB).unwrap()).collect();
    let last = other.take(64 * KIB).unwrap();

    let error = pool.take(16 * KIB).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
    let text = error.to_string();
    for word in ["40", "vm.max_map_count = 65530", "6.13", "fewer coroutines"] {
        assert!(text.contains(word), "{text}");
    }

    // What is there already can be used again.
    pool.give(stacks.pop().unwrap());
    stacks.push(pool.take(16 * KIB).unwrap());
    // And a pool that ends leaves its share to the others.
    other.give(last);
    drop(other);
    stacks.push(pool.take(16 * KIB).unwrap());
    assert_eq!(budget.used(), 40);
}

#[test]
fn a_hundred_thousand_installed_guards_split_no_mapping() {
    let Ok(mut pool) = StackPool::new(GuardPages::Install) else {
        return eprintln!("skipped: this kernel has no MADV_GUARD_INSTALL");
    };
    let stacks: Vec<_> = (0..100_000).map(|_| pool.take(64 * KIB).unwrap()).collect();
    assert!(stacks.iter().step_by(997).all(is_guarded));
    let slabs = &pool.classes[2].slabs;
    assert!(slabs.len() <= 8, "{}", slabs.len());
    assert!(mappings_in(slabs) <= slabs.len());
    let started: usize = slabs.iter().map(|slab| slab.started).sum();
    assert_eq!(started, stacks.len());
}

#[test]
fn protected_guards_split_the_mapping() {
    let mut pool = StackPool::with_guard(Guard::Protect(budget(100)));
    let _stacks: Vec<_> = (0..100).map(|_| pool.take(64 * KIB).unwrap()).collect();
    assert!(mappings_in(&pool.classes[2].slabs) >= 199);
}

#[test]
fn dropping_the_pool_unmaps_exactly_the_slabs_whose_stacks_are_back() {
    const MARK: u64 = 0x6269_6e67_6661_2121;
    let mark_at = |stack: &Stack| stack.base().get() - 8;
    let mark = |stack: &Stack| {
        // SAFETY: in the stack, and nobody runs on it.
        unsafe { ptr::with_exposed_provenance_mut::<u64>(mark_at(stack)).write(MARK) }
    };
    // The kernel reads for us: an error where nothing is mapped, and something else if
    // another test got the address meanwhile.
    let memory = fs::File::open("/proc/self/mem").unwrap();
    let is_marked = |at: usize| {
        let mut bytes = [0; 8];
        memory.read_exact_at(&mut bytes, at as u64).is_ok() && u64::from_ne_bytes(bytes) == MARK
    };
    for mut pool in pools() {
        let back = pool.take(64 * KIB).unwrap();
        let out = pool.take(32 * KIB).unwrap();
        let neighbour = pool.take(32 * KIB).unwrap();
        let at = [&back, &out, &neighbour].map(mark_at);
        [&back, &out, &neighbour].into_iter().for_each(mark);
        assert!(at.into_iter().all(is_marked));
        pool.give(back);
        pool.give(neighbour);
        drop(pool);
        assert_eq!(at.map(is_marked), [false, true, true]);
        assert!(is_guarded(&out));
    }
}

#[test]
fn a_stack_given_to_another_pool_keeps_its_slab_alive() {
    let mut pool = StackPool::new(GuardPages::Auto).unwrap();
    let mut other = StackPool::new(GuardPages::Auto).unwrap();
    let stack = pool.take(64 * KIB).unwrap();
    other.give(stack);
    drop(pool);
    let stack = other.take(64 * KIB).unwrap();
    touch(&stack, 8 * KIB);
    other.give(stack);
    drop(other);
}

#[test]
fn a_coroutine_runs_on_a_stack_and_gives_it_back() {
    for mut pool in pools() {
        let mut limits = Vec::new();
        for round in 0..3 {
            let mut stack = pool.take(64 * KIB).unwrap();
            limits.push(stack.limit());
            stack.reserve(200, 16);
            let (low, high) = (stack.limit().get(), stack.base().get());
            let mut coroutine =
                Coroutine::<u32, u32, u32, Stack>::with_stack(stack, move |yielder, first| {
                    let local = 0u8;
                    assert!((low..high).contains(&ptr::from_ref(&local).addr()));
                    yielder.suspend(first + 1) * 2
                });
            assert_eq!(coroutine.resume(round).as_yield(), Some(round + 1));
            assert_eq!(coroutine.resume(21).as_return(), Some(42));
            pool.give(coroutine.into_stack());
        }
        assert!(limits.iter().all(|limit| *limit == limits[0]));
    }
}
