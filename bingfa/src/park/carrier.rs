//! Who calls: the id of the running thread or coroutine, as the registry shows it, and
//! the word of an exclusive lock, which is its owner's id above some flag bits.

#[cfg(not(loom))]
pub(crate) use super::local::carrier_id as id;
#[cfg(loom)]
pub(crate) use super::model::id;

/// How many bits of a lock's word are flags, below the owner.
pub(crate) const FLAG_BITS: u32 = 3;

/// The owner of a lock that was taken by an async task, or whose guard may wander
/// between carriers: somebody, but nobody knows who.
pub(crate) const ANONYMOUS: u64 = u64::MAX >> (FLAG_BITS + 1);

/// The flag of a lock whose orders are watched (see [`order`](super::order)), above the owner.
pub(crate) const WATCHED: u64 = 1 << 63;

/// The bits of a lock's word that are no owner.
pub(crate) const FLAGS: u64 = ((1 << FLAG_BITS) - 1) | WATCHED;

/// The flag of a word that has the number of those who share the lock in place of an owner.
pub(crate) const SHARED: u64 = 1 << (FLAG_BITS - 1);

/// The owner that a lock's word names, if it is known.
pub(crate) fn owner(word: u64) -> Option<u64> {
    if word & SHARED != 0 {
        return None;
    }
    Some((word & !FLAGS) >> FLAG_BITS).filter(|owner| ![0, ANONYMOUS].contains(owner))
}
