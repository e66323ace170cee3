"""Guessing is locked at its n-th failure, longer each time; a user is at home where he logged in before."""


from mailgw.mail.ports import Excess, Lock
from mailgw.policy.lockout import DAY, Lockout, LockoutSettings, login_key
from tests.tables import each

A, B, NEAR_A = "192.0.2.1", "198.51.100.1", "192.0.2.99"
ALICE = "alice@example.org"


def lockout(most_keys: int = 100, **changes: float) -> Lockout:
    settings = {
        "failures_per_address": 3, "failures_per_network": 100, "failures_per_login": 100,
        "first_seconds": 60.0, "longest_seconds": 3600.0,
    }
    return Lockout(LockoutSettings(**{**settings, **changes}), most_keys)  # type: ignore[arg-type] # a table of tests


def tried(
    locks: Lockout, address: str, login: str | None, is_right: bool | None, now: float = 0.0
) -> float | tuple[Lock, ...]:
    """The seconds to wait, or the locks that the attempt began.  Who gives no name is Alice."""
    excess = locks.begin(address, login, now)
    account = (login or ALICE) if is_right else None
    return excess.seconds if excess is not None else locks.end(address, login, is_right, now, account)


def fail(locks: Lockout, address: str, login: str, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        assert not tried(locks, address, login, False, now)


def test_an_address_is_locked_at_its_nth_failure() -> None:
    locks = lockout()
    fail(locks, A, "x", 2)
    assert tried(locks, A, "y", False) == (Lock("address", A, 60.0),)
    assert tried(locks, A, ALICE, True) == 60.0
    assert tried(locks, A, ALICE, True, 59.0) == 1.0
    assert tried(locks, B, ALICE, True) == ()
    assert tried(locks, A, "other", True, 60.0) == ()


def test_each_failure_more_locks_twice_as_long() -> None:
    locks = lockout()
    fail(locks, A, "x", 2)
    now, seconds = 0.0, []
    for _ in range(8):
        [lock] = locks.end(A, "x", False, now) if locks.begin(A, "x", now) is None else ()
        seconds.append(lock.seconds)
        now += lock.seconds
    assert seconds == [60, 120, 240, 480, 960, 1920, 3600, 3600]


def test_a_network_and_a_login_are_locked_from_many_addresses() -> None:
    locks = lockout(failures_per_network=4, failures_per_login=6)
    for number in range(3):
        fail(locks, f"192.0.2.{number}", f"user{number}", 1)
    assert tried(locks, "192.0.2.3", "user3", False) == (Lock("network", "192.0.2.0/24", 60.0),)
    assert tried(locks, "192.0.2.4", "user4", True) == 60.0
    for number in range(5):
        fail(locks, f"203.0.{number}.1", ALICE, 1)
    assert tried(locks, "203.0.5.1", ALICE.upper(), False) == (Lock("login", ALICE, 60.0),)
    assert tried(locks, "203.0.6.1", ALICE, True) == 60.0
    assert tried(locks, "203.0.6.1", "bob", True) == ()


def test_nobody_is_locked_out_where_he_logged_in_before() -> None:
    locks = lockout(failures_per_network=5, failures_per_login=5)
    assert tried(locks, A, ALICE, True) == ()
    # From elsewhere, from the same network, and from the same address (an office has one for all).
    for number in range(1, 9):
        tried(locks, f"203.0.{number}.1", ALICE, False)
        tried(locks, f"192.0.2.{100 + number}", "x", False)
        tried(locks, A, "x", False)
        tried(locks, A, ALICE, False)
    assert locks.begin(B, ALICE, 0.0) is not None
    assert locks.begin(A, "x", 0.0) is not None
    assert locks.begin(NEAR_A, "x", 0.0) is not None
    assert tried(locks, A, ALICE, True) == ()


def test_near_home_only_the_address_itself_speaks_against_a_login() -> None:
    locks = lockout(failures_per_login=2)
    assert tried(locks, A, ALICE, True) == ()
    for number in range(2):
        tried(locks, f"203.0.{number}.1", ALICE, False)
    assert locks.begin(B, ALICE, 0.0) is not None
    assert tried(locks, NEAR_A, ALICE, True) == ()
    other_near = "192.0.2.50"
    for _ in range(3):
        tried(locks, other_near, ALICE, False)
    assert locks.begin(other_near, ALICE, 0.0) is not None


def test_many_at_the_same_moment_are_no_more_guesses() -> None:
    locks = lockout()
    begun = [locks.begin(A, f"u{number}", 0.0) for number in range(5)]
    assert begun == [None, None, None, Excess("lockout", 1.0), Excess("lockout", 1.0)]
    for number in range(3):
        locks.end(A, f"u{number}", None, 0.0)
    fail(locks, A, "x", 2)
    assert locks.begin(A, "x", 0.0) is None
    assert locks.begin(A, "y", 0.0) is not None, "one is left, and it is taken"


def test_after_a_lock_one_at_a_time() -> None:
    locks = lockout()
    fail(locks, A, "x", 2)
    tried(locks, A, "x", False)
    assert locks.begin(A, "x", 61.0) is None
    assert locks.begin(A, "x", 61.0) is not None


def test_what_could_not_be_judged_is_no_failure() -> None:
    locks = lockout()
    for _ in range(10):
        assert tried(locks, A, "x", None) == ()
    assert [len(table) for table in (locks._addresses, locks._networks, locks._logins)] == [0, 0, 0]


def test_one_who_is_at_home_when_it_ends_was_counted_when_it_began() -> None:
    locks = lockout()
    assert locks.begin(A, ALICE, 0.0) is None
    assert locks.begin(A, ALICE, 0.0) is None
    locks.end(A, ALICE, True, 0.0, ALICE)
    locks.end(A, ALICE, True, 0.0, ALICE)
    assert len(locks._addresses) == 0
    assert not locks._begun


def test_failures_are_forgiven_over_a_day() -> None:
    locks = lockout()
    fail(locks, A, "x", 2)
    fail(locks, A, "x", 1, DAY / 3 + 1)
    assert tried(locks, A, "x", False, DAY / 3 + 2) == (Lock("address", A, 60.0),)
    fail(locks, A, "x", 2, 2 * DAY)


def test_a_right_password_elsewhere_forgives_nothing() -> None:
    locks = lockout()
    fail(locks, A, ALICE, 2)
    assert tried(locks, A, "mallory", True) == ()
    assert tried(locks, A, ALICE, False) == (Lock("address", A, 60.0),)


def test_a_rate_may_refuse_and_then_nothing_began() -> None:
    locks = lockout()
    too_fast = Excess("logins_per_address", 5.0)
    for _ in range(5):
        assert locks.begin(A, "x", 0.0, lambda: too_fast) == too_fast
    tried(locks, A, ALICE, True)
    assert locks.begin(A, ALICE, 0.0, lambda: too_fast) == too_fast
    assert len(locks._addresses) == 0


def test_a_mechanism_without_a_name_is_counted_by_address() -> None:
    locks = lockout()
    for _ in range(2):
        assert tried(locks, A, None, False) == ()
    assert tried(locks, A, None, False) == (Lock("address", A, 60.0),)


def test_tables_stay_small_and_keep_who_failed_most() -> None:
    locks = lockout(most_keys=8)
    fail(locks, A, "x", 2)
    for number in range(1000):
        tried(locks, f"203.{number // 250}.{number % 250}.1", f"user{number}", False)
    assert all(len(table) <= 8 for table in (locks._addresses, locks._networks, locks._logins))
    assert tried(locks, A, "x", False) == (Lock("address", A, 60.0),)


def test_a_failure_of_who_was_forgotten_meanwhile_counts() -> None:
    locks = lockout(most_keys=4)
    assert locks.begin(A, "x", 0.0) is None
    for number in range(20):
        fail(locks, f"203.0.{number}.1", f"u{number}", 2)
    assert locks.end(A, "x", False, 0.0) == ()
    fail(locks, A, "x", 1)
    assert tried(locks, A, "x", False) == (Lock("address", A, 60.0),)
    assert locks.begin(B, "y", 0.0) is None
    for number in range(20):
        fail(locks, f"203.1.{number}.1", f"v{number}", 2)
    assert locks.end(B, "y", True, 0.0) == ()


def test_homes_stay_few() -> None:
    locks = lockout(most_keys=4)
    for number in range(100):
        tried(locks, f"203.0.{number}.1", ALICE, True)
    assert locks.is_home("203.0.99.1", ALICE)
    assert not locks.is_home("203.0.1.1", ALICE)
    for number in range(10):
        tried(locks, A, f"user{number}", True)
    assert len(locks._homes) <= 4
    assert not locks.is_home("203.0.99.1", ALICE)


@each(("one", "other"), [
    ("Alice@Example.org", ALICE),
    (r'"\a\lice"@example.org', ALICE),
    ("alice@\uff45xample.org", ALICE),
    ("x@M\u00fcller.example", "X@xn--mller-kva.example"),
    ("BOB", "bob"),
    ("x" * 256, "x" * 300),
])
def test_names_that_are_one_key(one: str, other: str) -> None:
    assert login_key(one) == login_key(other)


def test_names_of_two_accounts_are_two_keys() -> None:
    assert login_key("\u212aate@example.org") != login_key("kate@example.org")  # the Kelvin sign's lower case is a k


def test_a_guesser_gains_nothing_by_spelling_the_address() -> None:
    locks = lockout(failures_per_address=100, failures_per_login=3)
    spellings = (ALICE, '"alice"@example.org', r'"\alice"@example.org', "alice@\uff45xample.org")
    said = [tried(locks, f"203.0.{n}.1", spelling, False) for n, spelling in enumerate(spellings)]
    assert said == [(), (), (Lock("login", ALICE, 60.0),), 60.0]


def test_a_login_without_a_name_makes_its_account_s_home() -> None:
    locks = lockout()
    assert tried(locks, A, None, True) == ()
    fail(locks, A, "x", 2)
    assert tried(locks, A, "x", False) == (Lock("address", A, 60.0),)
    assert tried(locks, A, "x", False) == 60.0
    assert tried(locks, A, ALICE, True) == ()
    assert tried(locks, A, None, True) == (), "nobody locks tokens out of where one succeeded"
    assert locks.begin(NEAR_A, None, 0.0) is None
    assert not locks.is_home(NEAR_A, None)


def test_homes_of_logins_without_a_name_stay_few() -> None:
    locks = lockout(most_keys=4)
    for number in range(10):
        tried(locks, f"203.0.{number}.1", None, True)
    assert len(locks._nameless) <= 4
    assert locks.is_home("203.0.9.1", None)


def test_a_home_is_under_the_name_that_was_given_and_under_the_account_s() -> None:
    locks = lockout()
    assert locks.begin(A, "alice", 0.0) is None
    locks.end(A, "alice", True, 0.0, ALICE)
    assert locks.is_home(A, "Alice")
    assert locks.is_home(A, ALICE)


def test_no_home_where_the_address_is_nobody_s_own() -> None:
    locks = lockout()
    for login in (ALICE, None):
        assert locks.begin(A, login, 0.0) is None
        locks.end(A, login, True, 0.0, None)
        assert not locks.is_home(A, login)
