/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 The ctdb-etcd authors
 *
 * The lock on etcd's v3 API. README.md explains how to read this model, which function of the program each step stands
 * for, and why the omissions hide nothing.
 *
 * Helpers 0 and 2 run on node A, helper 1 on node B. A helper that has ended starts again, as another process. No step
 * has a deadline, so every helper is at times slow, stopped and continued, or cut off.
 */

#ifndef HELPERS
#define HELPERS 3
#endif
#ifndef TTL
#define TTL 4               /* ticks of a lease */
#endif
#ifndef MARGIN
#define MARGIN 1            /* ticks by which a holder is gone before its lease can end */
#endif
#define DRIFT 1             /* ticks by which etcd's clock may gain on a helper's during a lease */

/* What else can happen. */
#ifndef LATE
#define LATE 2              /* late requests: 0 none, 1 executed once, 2 any number of times */
#endif
#ifndef SLEEP
#define SLEEP 0             /* the machines may sleep; each helper has its own machine */
#endif
#ifndef UNDISTURBED
#define UNDISTURBED 0       /* no fault hits helper B, which takes its next step at once */
#endif
#ifndef CALM
#define CALM 0              /* after some moment there are no faults, and all helpers take their next step at once */
#endif

#define USABLE (TTL - MARGIN)
#define FULL   (TTL - DRIFT + 1)
#define NOBODY 4
#define OFF    (TTL + 1)    /* a kernel timer that is not armed */
#ifndef B
#define B 1                 /* the helper that runs on the other node */
#endif
#define me     (_pid - 1)

/* The rules of the lock. A sabotage takes one of them away: it sets it to 0. */
#ifndef FENCE
#define FENCE 1             /* a kernel timer ends the holder */
#endif
#ifndef RECHECK
#define RECHECK 1           /* after arming, before `0`, the rest of the lease is computed again */
#endif
#ifndef GUARD
#define GUARD 1             /* before arming again, the timer is set to the shortest time */
#endif
#ifndef BEFORE_REQUEST
#define BEFORE_REQUEST 1    /* t0 is taken before the request, not after its answer */
#endif
#ifndef LOOK
#define LOOK 1              /* after each renewal the helper reads its key */
#endif
#ifndef TERM
#define TERM 1              /* it must read the key in the term of the renewal */
#endif
#ifndef AGAIN
#define AGAIN 1             /* in another term, the lease is renewed again; else: the lock is lost */
#endif
#ifndef BOOTTIME
#define BOOTTIME 1          /* a machine's sleep counts as time */
#endif
#ifndef LEASED
#define LEASED 1            /* the key ends with the lease */
#endif
#ifndef STDOUT_FIRST
#define STDOUT_FIRST 1      /* stdout ends before the lease is revoked */
#endif
#ifndef COMPARE
#define COMPARE 1           /* a dead holder's key is replaced only if it is still the same */
#endif
#ifndef NONCE
#define NONCE 1             /* dead: its nonce is on this node, its process is not; else: no process on this node */
#endif
#ifndef OWN_LEASE
#define OWN_LEASE 1         /* a helper releases its own lease; else: the key in the directory */
#endif
#ifndef OWN_ID
#define OWN_ID 1            /* a request is repeated with the same lease ID */
#endif
#ifndef SHARED
#define SHARED 1            /* there is one etcd; else: one on each node */
#endif
#ifndef CHECK
#define CHECK 1             /* before `0` the helper checks whether etcd is shared */
#endif

#define ETCDS (2 - SHARED)
#define ETCD(i) (!SHARED && i == B)
#define LEASES (OWN_ID * HELPERS + (1 - OWN_ID) * (FORSAKEN + 1))
#define FORSAKEN 3          /* without OWN_ID: the first lease of a helper that continues with another one */

mtype = { none, grant, txn, renew, revoke };
mtype = { out, looked, granting, putting, evicting, taken, arming, armed, ready, resting, renewing, looking,
    renewed, guarded, rearming, ending };

/* etcd */
byte lease[LEASES];         /* 0: there is none; 1: it may end at any moment; n: after n - 1 ticks */
byte front[ETCDS] = NOBODY; /* owner of the key in the directory, which has one key at most */
mtype late = none;          /* a request on its way to etcd that its sender has given up */
byte late_of;

/* the helpers */
mtype at[HELPERS] = out;
bit  zero[HELPERS];         /* it has said `0` */
byte age[HELPERS];          /* own ticks since t0, counted up to USABLE */
byte left[HELPERS];         /* the rest of the lease, as computed; while evicting: the dead holder */
byte timer[HELPERS] = OFF;  /* own ticks until SIGALRM */
bit  other_term[HELPERS];   /* the renewal was answered in another term than that of the current leader */

bit  asleep[HELPERS];       /* its machine sleeps */
byte slept[HELPERS];        /* ticks that the kernel timer has not counted */
bit  calm;
byte i;                     /* 0 between steps */

byte noted = NOBODY;        /* the helper whose nonce is in node A's file in /run/ctdb */

#define must(property, broken) if :: property :: else -> printf(broken); assert(0) fi

/* A holder whose machine slept for too long sees the loss only at its next step. Until then it counts as ended. */
#define overslept(i) (BOOTTIME && slept[i] > 0 && timer[i] <= slept[i])
#define holds(i)     (zero[i] && !overslept(i) && (at[i] != ending || !STDOUT_FIRST))
#define usable(i)    (USABLE - age[i])
#define counting(i)  (at[i] != out && at[i] != looked && at[i] != resting && at[i] != ending)
#define directory(i) front[ETCD(i)]

/* On node A a contender finds the holder's nonce, and no such process. */
#if NONCE
#define dead(i, who) (i != B && noted == who && who != NOBODY && at[who] == out)
#else
#define dead(i, who) (who != NOBODY && ((i == B) != (who == B) || at[who] == out))
#endif

/* What a contender must see before its next step. */
#define may_start(i) (forgotten(i) && (directory(i) == NOBODY || dead(i, directory(i))))

/* With UNDISTURBED and CALM: whether helper i must take a step before time passes. A holder renews after each tick. */
#define busy(i)      (at[i] != out && !(at[i] == resting && timer[i] == USABLE) || at[i] == out && may_start(i))
#define hurry        (UNDISTURBED && at[B] != out && busy(B) || calm && (busy(0) || busy(1) || busy(HELPERS - 1) || \
    late != none || lease[0] == 1 || lease[1] == 1 || lease[HELPERS - 1] == 1))

/* The helpers that a fault can hit. */
#define faulty(i)    (!calm && !(UNDISTURBED && i == B))

/* Nothing is left of this helper's last process, so its number can stand for the next one. */
#define forgotten(i)  (lease[i] == 0 && (late == none || late_of != i) && !evicts(0, i) && !evicts(HELPERS - 1, i))
#define evicts(j, i)  (at[j] == evicting && left[j] == i)

/* ---- etcd: each of these is one entry in its log. ---- */

inline etcd_grant(i) {
    if :: lease[i] == 0 -> lease[i] = FULL :: else fi
}

inline etcd_put(i) {        /* "if the directory is empty" */
    if :: directory(i) == NOBODY && lease[i] > 0 -> directory(i) = i :: else fi
}

inline etcd_end(i) {        /* a lease ends, and with it the key */
    lease[i] = 0;
    if :: directory(i) == i && LEASED -> directory(i) = NOBODY :: else fi
}

/* ---- How a helper ends, rests and repeats. ---- */

inline over(i) {
    must(!(UNDISTURBED && i == B && zero[i]), "BROKEN: an undisturbed holder loses the lock\n");
    at[i] = out; zero[i] = 0; age[i] = 0; timer[i] = OFF; left[i] = 0; other_term[i] = 0; slept[i] = 0
}

inline give_back(i) {       /* it ends its stdout, then requests the revoke */
    must(!(UNDISTURBED && i == B && zero[i]), "BROKEN: an undisturbed holder loses the lock\n");
    at[i] = ending; age[i] = 0; timer[i] = OFF; left[i] = 0; other_term[i] = 0; slept[i] = 0
}

inline rest(i) {
    at[i] = resting; age[i] = 0; left[i] = 0
}

inline resend(i, request) {
    late = request; late_of = i; printf("#%d has no answer and asks again; the first request is still on its way\n", i)
}

#define done if :: LATE < 2 -> late = none; late_of = 0 :: else fi

active proctype world() {
    do
    :: d_step { !hurry ->
        printf("tick\n");
        for (i : 0 .. LEASES - 1) {
            if :: lease[i] > 1 -> lease[i]-- :: else fi
        }
        for (i : 0 .. HELPERS - 1) {
            if :: counting(i) && age[i] < USABLE && (BOOTTIME || !asleep[i]) -> age[i]++ :: else fi;
            if
            :: timer[i] != OFF && timer[i] > 0 && !asleep[i] -> timer[i]--
            :: timer[i] != OFF && slept[i] < timer[i] && asleep[i] -> slept[i]++
            :: else
            fi;
            if :: timer[i] == 0 && FENCE -> over(i); printf("#%d is ended by its fence\n", i) :: else fi
        }
        i = 0 }
    :: d_step { lease[0] == 1 -> etcd_end(0); printf("etcd ends the lease of #0\n") }
    :: d_step { lease[1] == 1 -> etcd_end(1); printf("etcd ends the lease of #1\n") }
    :: d_step { lease[LEASES - 1] == 1 -> etcd_end(LEASES - 1); printf("etcd ends the lease of #%d\n", LEASES - 1) }
    :: d_step { !calm ->
        for (i : 0 .. LEASES - 1) {
            if :: lease[i] > 0 -> lease[i] = FULL :: else fi
        }
        for (i : 0 .. HELPERS - 1) {
            if :: at[i] == looking -> other_term[i] = 1 :: else fi
        }
        i = 0; printf("etcd has another leader, which lengthens all leases\n") }

    :: d_step { late == grant && !calm -> etcd_grant(late_of);
        printf("a late request for the lease of #%d arrives\n", late_of);
        done }
    :: d_step { late == txn && !calm -> etcd_put(late_of);
        printf("a late request to put the key of #%d arrives\n", late_of);
        done }
    :: d_step { late == renew && !calm && lease[late_of] > 0 -> lease[late_of] = FULL;
        printf("a late renewal of #%d arrives\n", late_of); done }
    :: d_step { late == revoke && !calm -> etcd_end(late_of); printf("a late revoke of #%d arrives\n", late_of); done }
    :: d_step { late != none -> late = none; late_of = 0; printf("nothing late is on its way any more\n") }

#if SLEEP
    :: d_step { !asleep[0] -> asleep[0] = 1; printf("the machine of #0 falls asleep\n") }
    :: d_step { !asleep[1] -> asleep[1] = 1; printf("the machine of #1 falls asleep\n") }
    :: d_step { asleep[0] -> asleep[0] = 0; printf("the machine of #0 wakes up\n") }
    :: d_step { asleep[1] -> asleep[1] = 0; printf("the machine of #1 wakes up\n") }
#endif
#if CALM
    :: d_step { !calm -> calm = 1; printf("from now on nothing happens\n") }
#endif
    od
}

active [HELPERS] proctype helper() provided (!asleep[_pid - 1]) {
    do
    /* from the start to `0` */
    :: d_step { at[me] == out && may_start(me) ->
        if :: noted == me -> noted = NOBODY :: else fi;
        at[me] = looked; printf("#%d starts, looks, and finds nobody who holds or may live\n", me) }
    :: d_step { at[me] == looked ->
        age[me] = 0; at[me] = granting; printf("#%d takes t0 and asks for a lease\n", me) }
    :: d_step { at[me] == granting ->
        etcd_grant(me); at[me] = putting; printf("etcd grants #%d its lease\n", me) }
    :: d_step { at[me] == putting ->
        etcd_put(me);
        if
        :: directory(me) == me -> at[me] = taken; printf("etcd puts the key of #%d into the empty directory\n", me)
        :: directory(me) == NOBODY -> over(me); printf("#%d finds that its lease has ended\n", me)
        :: else ->
            if
            :: dead(me, directory(me)) -> left[me] = directory(me); at[me] = evicting;
                printf("#%d finds the key of #%d, and takes it for dead\n", me, left[me])
            :: else -> printf("#%d finds another key there, and says 1\n", me); give_back(me)
            fi
        fi }
    :: d_step { at[me] == evicting ->
        if
        :: lease[me] > 0 && (directory(me) == left[me] || !COMPARE) -> lease[left[me]] = 0; directory(me) = me
        :: else
        fi;
        if
        :: directory(me) == me -> at[me] = taken;
            printf("etcd puts the key of #%d in the place of that of #%d\n", me, left[me])
        :: else -> give_back(me); printf("#%d finds that key no longer there, and says 1\n", me)
        fi;
        left[me] = 0 }
    :: d_step { at[me] == taken && !SHARED && CHECK -> give_back(me);
        printf("#%d sees that etcd is not shared, and says 3\n", me) }
    :: d_step { at[me] == taken && (SHARED || !CHECK) && age[me] * 2 < TTL ->
        left[me] = usable(me); at[me] = arming; printf("#%d computes what is left: %d ticks\n", me, left[me]) }
    :: d_step { at[me] == arming ->
        timer[me] = left[me]; slept[me] = SLEEP * (left[me] - usable(me)); left[me] = 0;
        at[me] = (RECHECK -> armed : ready);
        printf("#%d arms its fence: %d ticks\n", me, timer[me]) }
    :: d_step { at[me] == armed ->
        if
        :: usable(me) == 0 -> give_back(me); printf("#%d computes again what is left: nothing is left\n", me)
        :: usable(me) > 0 && usable(me) == timer[me] -> at[me] = ready;
            printf("#%d computes again what is left: the fence is right\n", me)
        :: else -> left[me] = usable(me); at[me] = arming;
            printf("#%d computes again what is left: %d ticks\n", me, left[me])
        fi }
    :: d_step { at[me] == ready ->
        zero[me] = 1; rest(me);
        if :: me != B -> noted = me :: else fi;
        printf("#%d says 0\n", me);
        must(overslept(me) || !holds((me + 1) % HELPERS) && !holds((me + HELPERS - 1) % HELPERS),
            "BROKEN: two holders\n") }

    /* renewing */
    :: d_step { at[me] == resting && overslept(me) -> give_back(me);
        printf("#%d sees that it slept for too long, and exits\n", me) }
    :: d_step { at[me] == resting && !overslept(me) || at[me] == taken && (SHARED || !CHECK) && age[me] * 2 >= TTL ->
        age[me] = 0; at[me] = renewing; printf("#%d takes t0 and renews its lease\n", me) }
    :: d_step { at[me] == renewing && lease[me] > 0 ->
        lease[me] = FULL; at[me] = (LOOK -> looking : renewed); printf("etcd renews the lease of #%d\n", me) }
    :: d_step { at[me] == renewing && lease[me] == 0 ->
        give_back(me); printf("#%d learns that its lease has ended, and exits\n", me) }
    :: d_step { at[me] == renewing && lease[me] == 0 && !calm ->
        at[me] = (LOOK -> looking : renewed); printf("etcd answers #%d: renewed, although that lease has ended\n", me) }
    :: d_step { at[me] == renewing && !calm ->
        at[me] = (LOOK -> looking : renewed); other_term[me] = LOOK;
        printf("a deposed leader answers #%d: renewed, which the new leader does not know of\n", me) }
    :: d_step { at[me] == looking ->
        if
        :: directory(me) != me -> give_back(me); printf("#%d sees that its key is gone, and exits\n", me)
        :: directory(me) == me && other_term[me] && TERM && !AGAIN -> give_back(me);
            printf("#%d sees its key in a later term than that of the renewal, and exits\n", me)
        :: directory(me) == me && other_term[me] && TERM && AGAIN -> other_term[me] = 0; age[me] = 0; at[me] = renewing;
            printf("#%d sees its key in a later term than that of the renewal: takes t0 and renews again\n", me)
        :: else -> other_term[me] = 0; at[me] = renewed; printf("#%d sees its key\n", me)
        fi }
    :: d_step { at[me] == renewed ->
        if
        :: usable(me) == 0 && zero[me] -> give_back(me); printf("#%d finds that nothing is left, and exits\n", me)
        :: usable(me) == 0 && !zero[me] -> give_back(me); printf("#%d finds that nothing is left, and says 2\n", me)
        :: usable(me) > 0 && zero[me] && GUARD -> timer[me] = 1; at[me] = guarded;
            printf("#%d sets its fence to the shortest time, to arm it again\n", me)
        :: usable(me) > 0 && zero[me] && !GUARD -> left[me] = usable(me); at[me] = rearming;
            printf("#%d computes what is left: %d ticks\n", me, left[me])
        :: else -> left[me] = usable(me); at[me] = arming; printf("#%d computes what is left: %d ticks\n", me, left[me])
        fi }
    :: d_step { at[me] == guarded ->
        if
        :: usable(me) == 0 -> give_back(me); printf("#%d computes what is left: nothing, and exits\n", me)
        :: else -> left[me] = usable(me); at[me] = rearming;
            printf("#%d computes what is left: %d ticks\n", me, left[me])
        fi }
    :: d_step { at[me] == rearming ->
        timer[me] = left[me]; slept[me] = SLEEP * (left[me] - usable(me)); rest(me);
            printf("#%d arms its fence: %d ticks\n", me, timer[me]) }

    /* the end */
    :: d_step { at[me] == ending ->
        if :: !OWN_LEASE && zero[me] -> printf("#%d deletes the key in the directory\n", me) :: else fi;
        must(OWN_LEASE || !zero[me] || directory(me) == me || directory(me) == NOBODY,
            "BROKEN: what is not its own is deleted\n");
        etcd_end(me); over(me); printf("#%d ends its lease, and exits\n", me);
#if !OWN_ID
        must(directory(me) != FORSAKEN, "BROKEN: its key is left behind\n")
#endif
        }
    :: d_step { at[me] != out && at[me] != ending && faulty(me) -> give_back(me);
        printf("#%d is asked to end: SIGTERM, or its parent is gone\n", me) }
    :: d_step { at[me] != out && faulty(me) -> over(me); printf("#%d is killed\n", me) }

    /* a request or its answer is late or lost, or the request is repeated */
    :: d_step { at[me] == granting && LATE && late == none && faulty(me) -> resend(me, grant) }
    :: d_step { at[me] == renewing && LATE && late == none && faulty(me) -> resend(me, renew) }
    :: d_step { at[me] == ending && LATE && late == none && faulty(me) -> resend(me, revoke) }
#if OWN_ID
    :: d_step { at[me] == putting && LATE && late == none && faulty(me) -> resend(me, txn) }
#else
    :: d_step { at[me] == putting && me == B && LATE && late == none && faulty(me) && lease[FORSAKEN] == 0 ->
        resend(me, txn); late_of = FORSAKEN; lease[FORSAKEN] = lease[me]; lease[me] = 0; age[me] = 0; at[me] = granting;
        printf("#%d takes t0 and asks for a lease of another ID\n", me) }
#endif
#if !BEFORE_REQUEST
    :: d_step { at[me] == putting || at[me] == looking ->
        age[me] = 0; printf("#%d receives the answer about its lease, and takes t0 only now\n", me) }
#endif
    od
}

#if CALM
#define held (holds(0) || holds(1) || holds(HELPERS - 1))
ltl again { [] (calm -> <> [] held) }
#endif
