/* SPDX-License-Identifier: GPL-3.0-or-later
 * Copyright 2026 The ctdb-etcd authors
 *
 * api = auto alongside Samba's own helper, while a cluster moves from one to the other, node by node, and back. Each
 * process that a node starts is one or the other. README.md explains how to read this model.
 */

#ifndef NODES
#define NODES 3
#endif
#ifndef TTL
#define TTL 4               /* ticks of a key, and of a lease */
#endif
#define MARGIN 1
#define SKEW 1              /* ticks by which the wall clocks of etcd's members may differ */

#define USABLE (TTL - MARGIN)
#define FULL   (TTL - SKEW + 1)
#define NOBODY NODES
#define me     (_pid - 1)
#define OFF    (TTL + 1)
#define KEYS   (NODES + 1)

/* The rules of the lock. A sabotage takes one of them away: it sets it to 0. */
#ifndef COMPARE
#define COMPARE 1           /* our renewal requires that the key exists with our value; else: a plain write */
#endif
#ifndef INDEX
#define INDEX 1             /* our renewal also requires that the key has not changed since we read or renewed it */
#endif
#ifndef CLEAN
#define CLEAN 1             /* our contender deletes its key again */
#endif
#ifndef AGREE
#define AGREE 1             /* while Samba's helper runs anywhere, all members of etcd serve v2 */
#endif
#ifndef BACK
#define BACK 1              /* after each new connection our helper checks whether v2 is back */
#endif
#ifndef WAIT
#define WAIT 1              /* once v2 is back, Samba's helper starts only after one of ours holds both locks */
#endif
#ifndef TIMELY
#define TIMELY 1            /* Samba's helper, which has no fence, reaches etcd before its key can end */
#endif

/* What else can happen. */
#ifndef LATE
#define LATE 2              /* late requests: 0 none, 1 executed once, 2 any number of times */
#endif
#ifndef CALM
#define CALM 0              /* after some moment: no faults, no start of Samba's helper; all take steps at once */
#endif

mtype = { none, append, renew, plain, delete };
mtype = { out, looked, appending, appended, taken, resting, renewing, looking, ending,
    s_appending, s_looking, s_resting, s_writing };

/* etcd: the v2 directory's keys in their order; the owner of the first one has the lock */
bit  served = 1;            /* the v2 API */
bit  settled = 1;           /* one of our helpers has held both locks since v2 is served */
byte keys;
byte owner[KEYS];
bit  theirs[KEYS];          /* Samba's helper created it */
byte lasts[KEYS];           /* 1: may end at any moment; n: after n - 1 ticks */
byte v3 = NOBODY;           /* the holder of the v3 lock; v3.pml shows that there is one at most */
mtype late = none;
byte late_of;
byte late_lasts;            /* of an append or renewal: a member computed the key's end when it received it */
bit  late_old;              /* of a renewal: the key has changed since it was sent */

bit  calm;
byte i, k;                  /* 0 between steps */

/* one process at a time on each node */
mtype at[NODES] = out;
bit  zero[NODES];
bit  both[NODES];           /* it found v2 served, and takes the v2 lock, too */
bit  new_link[NODES];       /* its connection has broken since */
byte age[NODES];
byte timer[NODES] = OFF;

#define samba(i)  (at[i] == s_appending || at[i] == s_looking || at[i] == s_resting || at[i] == s_writing)
#define must(property, broken) if :: property :: else -> printf(broken); assert(0) fi

#define holds(i)  (zero[i] && at[i] != ending)
#define back(i)   (!both[i] && new_link[i] && served && BACK)
#define usable(i) (USABLE - age[i])
#define counting(i) (at[i] != out && at[i] != looked && at[i] != resting && at[i] != ending && !samba(i))
#define first     (keys > 0 -> owner[0] : NOBODY)

inline find(i) {            /* k: the position of i's key; keys if it has none */
    k = 0;
    do
    :: k < keys && owner[k] != i -> k++
    :: else -> break
    od
}

inline remove(n) {          /* the key at position n */
    keys--;
    for (k : n .. KEYS - 2) {
        owner[k] = owner[k + 1]; theirs[k] = theirs[k + 1]; lasts[k] = lasts[k + 1]
    }
    owner[KEYS - 1] = 0; theirs[KEYS - 1] = 0; lasts[KEYS - 1] = 0; k = 0
}

inline add(i, by_samba) {   /* after all others */
    assert(keys < KEYS);
    owner[keys] = i; theirs[keys] = by_samba; lasts[keys] = FULL; keys++
}

inline write_key(i, by_samba) {     /* even if it does not exist: an old name precedes all newer ones */
    find(i);
    if
    :: k < keys -> lasts[k] = FULL
    :: k == keys && keys < KEYS ->
        for (k : 1 .. KEYS - 1) {
            owner[KEYS - k] = owner[KEYS - k - 1]; theirs[KEYS - k] = theirs[KEYS - k - 1];
            lasts[KEYS - k] = lasts[KEYS - k - 1]
        }
        owner[0] = i; theirs[0] = by_samba; lasts[0] = FULL; keys++
    :: else
    fi;
    k = 0
}

inline renew_key(i, end) {  /* "if it exists, with my value" */
    find(i);
    if
    :: k < keys -> lasts[k] = end
    :: k == keys && !COMPARE -> write_key(i, 0)
    :: else
    fi;
    if :: late == renew && late_of == i -> late_old = 1 :: else fi;
    k = 0
}

inline delete_keys(i) {
    find(i);
    if :: k < keys -> remove(k) :: else fi;
    find(i);
    if :: k < keys -> remove(k) :: else fi;
    k = 0
}

inline over(i) {
    at[i] = out; zero[i] = 0; both[i] = 0; new_link[i] = 0; age[i] = 0; timer[i] = OFF
}

inline give_back(i) {
    at[i] = ending; new_link[i] = 0; age[i] = 0; timer[i] = OFF
}

inline say(i) {
    zero[i] = 1; printf("#%d says 0\n", i);
    must(!holds((i + 1) % NODES) && !holds((i + NODES - 1) % NODES), "BROKEN: two holders\n")
}

inline gone() {             /* no late request is on its way */
    late = none; late_of = 0; late_lasts = 0; late_old = 0
}

inline resend(i, request) {
    late = request; late_of = i;
    if :: request == renew || request == append -> late_lasts = FULL :: else fi;
    printf("#%d has no answer, and sends it again\n", i)
}

/* No key and no lock is left of this node's last process. */
#define forgotten(i) (v3 != i && (late == none || late_of != i) && !has_key(i))
#define may_start(i) (forgotten(i) && v3 == NOBODY && (!served || keys == 0))
#define has_key(i) (owns(0, i) || owns(1, i) || owns(2, i) || owns(3, i))
#define owns(n, i)  (keys > n && owner[n] == i)

#define lacks(i) (!has_key(i) || at[i] == appending || at[i] == appended)
#define lacking (lacks(0) + lacks(1) + (NODES > 2 && lacks(NODES - 1)))

/* Samba's helper renews before its key can end. */
#define must_renew(n) (TIMELY && keys > n && lasts[n] <= 2 && samba(owner[n]))

/* What must be done before time passes, once all is calm. While v2 is not served, its requests have no answer. */
#define busy(i)       (samba(i) && at[i] != s_resting || !samba(i) && at[i] != out && !(mute(i) && zero[i]) && \
    !(at[i] == resting && timer[i] == USABLE) || at[i] == out && may_start(i))
#define mute(i)       (both[i] && !served && \
    (at[i] == appending || at[i] == appended || at[i] == renewing || at[i] == looking))
#define v3_dead       (v3 != NOBODY && (at[v3] == out || !zero[v3] && age[v3] == USABLE))
#define hurry         (must_renew(0) || must_renew(1) || must_renew(2) || must_renew(3) || calm && \
    (busy(0) || busy(1) || busy(NODES - 1) || late != none || v3_dead || ends(0) || ends(1) || ends(2) || ends(3)))
#define ends(n)       (keys > n && lasts[n] == 1)
#define done          if :: LATE < 2 -> gone() :: else fi

active proctype world() {
    do
    :: d_step { !hurry ->
        printf("tick\n");
        for (i : 0 .. KEYS - 1) {
            if :: lasts[i] > 1 -> lasts[i]-- :: else fi
        }
        if :: late_lasts > 1 -> late_lasts-- :: else fi;
        for (i : 0 .. NODES - 1) {
            if :: counting(i) && age[i] < USABLE -> age[i]++ :: else fi;
            if :: timer[i] != OFF -> timer[i]-- :: else fi;
            if :: timer[i] == 0 -> over(i); printf("#%d is ended by its fence\n", i) :: else fi
        }
        i = 0 }
    :: d_step { ends(0) -> printf("the v2 key of #%d ends\n", owner[0]); remove(0) }
    :: d_step { ends(1) -> printf("the v2 key of #%d ends\n", owner[1]); remove(1) }
    :: d_step { ends(2) -> printf("the v2 key of #%d ends\n", owner[2]); remove(2) }
    :: d_step { ends(3) -> printf("the v2 key of #%d ends\n", owner[3]); remove(3) }
    :: d_step { v3_dead ->
        printf("the v3 lease of #%d ends\n", v3); v3 = NOBODY }
    :: d_step { late == append && !calm && keys + lacking < KEYS ->
        add(late_of, 0); lasts[keys - 1] = late_lasts; printf("a late request for a v2 key of #%d arrives\n", late_of); gone() }
    :: d_step { late == renew && !calm && !(INDEX && late_old) -> renew_key(late_of, late_lasts);
        printf("a late v2 renewal of #%d arrives\n", late_of); done }
    :: d_step { late == plain && !calm -> write_key(late_of, 1);
        printf("a late v2 write of #%d (Samba's) arrives\n", late_of); done }
    :: d_step { late == delete && !calm -> delete_keys(late_of);
        printf("a late v2 delete of #%d arrives\n", late_of); done }
    :: d_step { late != none -> gone(); printf("the late request is gone\n") }
    :: d_step { served && !calm && !samba(0) && !samba(1) && !samba(NODES - 1) -> served = 0;
        printf("v2 is switched off\n") }
    :: d_step { !served && !calm ->
        served = 1; settled = 0;
        for (i : 0 .. NODES - 1) {
            if :: at[i] != out && at[i] != ending && !both[i] -> new_link[i] = 1 :: else fi
        }
        i = 0; printf("v2 is switched on\n") }
#if CALM
    :: d_step { !calm -> calm = 1; printf("from now on nothing happens\n") }
#endif
    od
}

active [NODES] proctype node() {
    do
    /* ---- our helper */
    :: d_step { at[me] == out && may_start(me) ->
        at[me] = looked; both[me] = served;
        printf("#%d starts our helper, which finds nobody (v2 is served: %d)\n", me, served) }
#if !AGREE
    :: d_step { at[me] == out && forgotten(me) && v3 == NOBODY ->
        at[me] = looked;
            printf("#%d starts our helper, which finds nobody: the members that answer serve no v2\n", me) }
#endif
    :: d_step { at[me] == looked ->
        if
        :: v3 == NOBODY -> v3 = me; printf("#%d has the v3 lock\n", me);
            if :: both[me] -> at[me] = appending :: else -> at[me] = taken fi
        :: else -> over(me); printf("#%d finds another in v3, and answers 1\n", me)
        fi }
    :: d_step { at[me] == appending && served ->
        add(me, 0); at[me] = appended; printf("#%d has made its v2 key\n", me) }
    :: d_step { at[me] == appended && served ->
        find(me);
        if
        :: first == me -> at[me] = taken; printf("#%d sees its v2 key in front\n", me)
        :: first != me && k < keys -> give_back(me); printf("#%d sees another v2 key in front, and answers 1\n", me)
        :: k == keys -> at[me] = appending; age[me] = USABLE; printf("#%d sees no v2 key of its own\n", me)
        fi;
        k = 0 }
    :: d_step { at[me] == taken && back(me) ->
        give_back(me); printf("#%d has connected again, and sees that v2 is back: says 2\n", me) }
    :: d_step { at[me] == taken && !back(me) && age[me] * 2 < TTL ->
        new_link[me] = 0; timer[me] = usable(me); age[me] = 0; at[me] = resting;
        if :: both[me] -> settled = 1 :: else fi;
        say(me) }
    :: d_step { at[me] == resting || at[me] == taken && !back(me) && age[me] * 2 >= TTL ->
        at[me] = renewing; age[me] = 0; printf("#%d takes t0 and renews\n", me) }
    :: d_step { at[me] == renewing && v3 != me -> give_back(me); printf("#%d has lost the v3 lock\n", me) }
    :: d_step { at[me] == renewing && v3 == me && back(me) ->
        give_back(me); printf("#%d has connected again, and sees that v2 is back: exits\n", me) }
    :: d_step { at[me] == renewing && v3 == me && !both[me] && !back(me) ->
        new_link[me] = 0; at[me] = looking; printf("#%d has renewed its v3 lock\n", me) }
    :: d_step { at[me] == renewing && v3 == me && both[me] && served ->
        find(me);
        if
        :: k < keys || !COMPARE -> k = 0; renew_key(me, FULL); at[me] = looking; printf("#%d has renewed both\n", me)
        :: k == keys && COMPARE -> k = 0; give_back(me); printf("#%d finds its v2 key gone\n", me)
        fi }
    :: d_step { at[me] == looking && (!both[me] || served) ->
        if
        :: v3 != me -> give_back(me); printf("#%d has lost the v3 lock\n", me)
        :: v3 == me && both[me] && first != me ->
            printf("#%d finds another v2 key in front, and exits\n", me);
            must(!zero[me] || keys == 0 || theirs[0], "BROKEN: a dead process's key is in front of the holder's\n");
            give_back(me)
        :: else ->
            if
            :: usable(me) == 0 -> give_back(me)
            :: usable(me) > 0 && zero[me] -> timer[me] = usable(me); age[me] = 0; at[me] = resting;
                printf("#%d has set its fence\n", me)
            :: else -> at[me] = taken
            fi
        fi }
    :: d_step { at[me] == ending ->
        if :: both[me] && served && (CLEAN || zero[me]) -> delete_keys(me) :: else fi;
        must(!both[me] || !served || !has_key(me), "BROKEN: its key is left behind\n");
        if :: v3 == me -> v3 = NOBODY :: else fi;
        over(me); printf("#%d gives back and exits\n", me) }
    :: d_step { at[me] != out && at[me] != ending && !samba(me) && !calm -> give_back(me);
        printf("#%d is asked to end\n", me) }
    :: d_step { mute(me) && !zero[me] -> give_back(me); printf("#%d has no answer for too long, and says 2\n", me) }
    :: d_step { at[me] == appending && LATE && late == none && !calm ->
        resend(me, append); at[me] = appended; age[me] = USABLE }
    :: d_step { at[me] == renewing && both[me] && LATE && late == none && !calm -> resend(me, renew) }
    :: d_step { at[me] == ending && both[me] && LATE && late == none && !calm -> resend(me, delete) }

    /* ---- Samba's */
    :: d_step { at[me] == out && forgotten(me) && served && (settled || !WAIT) && !calm ->
        at[me] = s_appending; printf("#%d starts Samba's helper\n", me) }
    :: d_step { at[me] == s_appending && served -> add(me, 1); at[me] = s_looking;
        printf("#%d (Samba's) has made its key\n", me) }
    :: d_step { at[me] == s_looking && served ->
        if
        :: first == me && zero[me] -> at[me] = s_resting
        :: first == me && !zero[me] -> at[me] = s_resting; say(me)
        :: else ->
            printf("#%d (Samba's) sees another in front, and exits\n", me);
            must(!zero[me] || keys == 0 || theirs[0], "BROKEN: a dead process's key is in front of the holder's\n");
            over(me)
        fi }
    :: d_step { at[me] == s_resting && served ->
        find(me);
        if :: k < keys -> at[me] = s_writing :: else -> at[me] = s_appending fi;
        k = 0 }
    :: d_step { at[me] == s_writing && served -> write_key(me, 1); at[me] = s_looking;
        printf("#%d (Samba's) has renewed\n", me) }
    :: d_step { at[me] == s_writing && LATE && late == none && !calm ->
        late = plain; late_of = me; over(me); printf("#%d (Samba's) has no answer to its renewal, and exits\n", me) }
    :: d_step { samba(me) && served && !calm -> delete_keys(me); over(me);
        printf("#%d (Samba's) is asked to end\n", me) }

    :: d_step { at[me] != out && !calm -> over(me); printf("#%d is killed\n", me) }
    od
}

#if CALM
#define held (holds(0) || holds(1) || holds(NODES - 1))
ltl again { [] (calm -> <> [] held) }
#endif
