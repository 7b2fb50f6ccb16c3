use bingfa::sync::{MutexGuard, ReentrantLockGuard, RwLockReadGuard, RwLockWriteGuard};

fn send<T: Send>() {}

fn main() {
    send::<MutexGuard<'static, i32>>();
    send::<RwLockReadGuard<'static, i32>>();
    send::<RwLockWriteGuard<'static, i32>>();
    send::<ReentrantLockGuard<'static, i32>>();
}
