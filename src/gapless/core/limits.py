"""Every limit of gapless that is not an option, and the defaults of those that are. Units stand last."""

from typing import Final

# A page of a stream: what a reader that is behind costs in memory besides its socket buffer.
PAGE_MESSAGES_MAX: Final = 1_000
PAGE_BYTES_MAX: Final = 256 * 1024
# The first page, in the subscribe reply: SDKs give up on a reply after 5 s, however narrow the connection.
SUBSCRIBED_BYTES_MAX: Final = 32 * 1024

# What joins one WebSocket frame. Python's `websockets` refuses frames over 1 MiB by default.
FRAME_BYTES_MAX: Final = 64 * 1024
# Commands or replies in one frame; an SDK that comes back subscribes to all its channels in one.
FRAME_OBJECTS_MAX: Final = 10_000

# The writer's queue; beyond it publishers get error 111.
WRITER_ENTRIES_MAX: Final = 50_000
WRITER_BYTES_MAX: Final = 64 * 1024 * 1024
# What waits for one stream of a shared store while an append is in flight.
LANE_ENTRIES_MAX: Final = 10_000
# One commit; above about 500 rows only latency grows (research/reliability, section 3).
COMMIT_ENTRIES_MAX: Final = 1_000
COMMIT_BYTES_MAX: Final = 4 * 1024 * 1024

# Pages of a SQLite -wal after which it is brought into the database when the queue is short, and when not.
WAL_PAGES: Final = 16_000
WAL_PAGES_MAX: Final = 32_000
# A store whose last time is further ahead of the machine's clock says so when it is opened.
CLOCK_AHEAD_MS: Final = 60_000
# Heads of streams that the writer holds in memory.
STREAMS_CACHED_MAX: Final = 50_000

# Encoded tails of streams kept per node, and how long one outlives its last subscriber.
TAIL_BYTES_MAX: Final = 64 * 1024 * 1024
TAIL_MESSAGES_MAX: Final = 1_000
TAIL_LINGER_MS: Final = 60_000
# Channels without a subscriber that a node keeps over a check: a client may go through ever new names.
CHANNELS_IDLE_MAX: Final = 50_000

# Pages of those who scroll: items unless asked otherwise, and how many may wait for the store at once.
SCROLL_MESSAGES: Final = 50
SCROLL_READS_MAX: Final = 1_000
# Newest items of channels kept encoded for them, per channel and per node.
NEWEST_MESSAGES_MAX: Final = 100
NEWEST_CHANNEL_BYTES_MAX: Final = 256 * 1024
NEWEST_BYTES_MAX: Final = 32 * 1024 * 1024
# Tokens whose signature need not be verified again for each page, for how long, and the largest of them.
TOKENS_REMEMBERED_MAX: Final = 10_000
TOKENS_REMEMBERED_MS: Final = 60_000
TOKEN_REMEMBERED_BYTES_MAX: Final = 2 * 1024

# How often a node holds its channels against the store; a lost ring is noticed within that.
CHECK_INTERVAL_MS: Final = 1_000
# Nodes over one store that are told apart: how often each says that it is there, unless configured otherwise,
# and after how many times without a word it is gone.
NODES_MAX: Final = 256
BEAT_MS: Final = 1_000
BEATS_MISSED_MAX: Final = 4
# What nodes have each other do: what one remembers so as to do nothing twice, how often it is told again
# until all have answered, and what an answer may weigh.
ACTS_REMEMBERED_MAX: Final = 10_000
ASK_AGAIN_MS: Final = 250
TOLD_BYTES_MAX: Final = 4 * 1024 * 1024
# Who came and went in channels with presence is told to the store so often, and so many at once.
PRESENCE_BATCH_MS: Final = 5
PRESENCE_BATCH_MAX: Final = 1_000
# How long a backup that was made waits to be fetched.
BACKUP_KEPT_MS: Final = 600_000
# How long a message may take to go round before a node counts as unhealthy.
HEALTH_MS: Final = 2_000
# How many subscriptions that lost their position are told so (2500) per turn, so that they come back spread.
LOST_PER_TURN_MAX: Final = 200
LOST_TURN_MS: Final = 50
# How many clients at least a node that stops parts with per turn: some hundreds leave within a second.
PART_PER_TURN_MIN: Final = 20
PART_TURN_MS: Final = 50

# Commands of one connection that wait for the store at once; beyond it nothing more is read from it.
SESSION_COMMANDS_MAX: Final = 64
# Messages that histories of one connection ask for at once; beyond it, too, nothing more is read from it.
SESSION_MESSAGES_MAX: Final = 300
UNAUTHENTICATED_BYTES_MAX: Final = 64 * 1024
# A socket that is full and from which nothing drains for so long is dead.
SOCKET_STUCK_MS: Final = 30_000

# What a node with a console remembers of what happened to connections, in all and of one; how many earlier
# ones a story is followed through, how many are weighed to find the one before; and how many events beyond
# what one connection may have gather before they go.
STORY_EVENTS_MAX: Final = 20_000
STORY_EVENTS_PER_CONNECTION_MAX: Final = 100
STORY_CHAIN_MAX: Final = 20
STORY_CANDIDATES_MAX: Final = 32
STORY_NOISE_MAX: Final = 5_000
# Connections or events of one answer, unless asked otherwise and at most; subscriptions that are told of one
# connection; and what one node tells at once.
TOLD_PAGE: Final = 100
TOLD_PAGE_MAX: Final = 1_000
TOLD_SUBSCRIPTIONS_MAX: Final = 1_000
TOLD_PAGE_BYTES_MAX: Final = 1024 * 1024
# Names with versions of SDKs that connections share.
SDKS_SHARED_MAX: Final = 1_000

# The largest offset any store can hold.
OFFSET_MAX: Final = 2**63 - 1
MESSAGE_BYTES_MAX: Final = 64 * 1024
# How deep JSON may be nested: every subscriber has to parse it.
JSON_DEPTH_MAX: Final = 128
# Channels whose namespace a node remembers instead of reading their names again.
CHANNELS_REMEMBERED_MAX: Final = 50_000
CHANNEL_NAME_BYTES_MAX: Final = 255
TOKEN_BYTES_MAX: Final = 16 * 1024
# How long a token is good that is made for somebody who tries things out, unless it is said.
TOKEN_TRIAL_MS: Final = 3600 * 1000
TOKEN_HEADER_BYTES_MAX: Final = 2 * 1024
# Headers of tokens that are not judged again: all of one key are the same.
TOKEN_HEADERS_REMEMBERED_MAX: Final = 256
# Below it RFC 7518 (section 3.3) forbids a key, above it checking one signature holds up everybody.
RSA_BITS_MIN: Final = 2048
RSA_BITS_MAX: Final = 8192

# A session of the console, unless configured otherwise. Wrong passwords and keys that it hears in a minute,
# from one address and from all together; how many of them are recorded in an hour; how many people may wait
# to be heard; how long what they say may be; what one hash of a password may cost in memory and rounds.
CONSOLE_SESSION_MS: Final = 12 * 3600 * 1000
CONSOLE_WRONG_PER_MINUTE: Final = 5
CONSOLE_WRONG_OF_ALL_PER_MINUTE: Final = 100
CONSOLE_WRONG_RECORDED_PER_HOUR: Final = 60
CONSOLE_LOGINS_WAITING_MAX: Final = 16
CONSOLE_LOGIN_BYTES_MAX: Final = 4 * 1024
PASSWORD_HASH_BYTES_MAX: Final = 256 * 1024 * 1024
PASSWORD_ROUNDS_MAX: Final = 16

# A set of public keys that is fetched: its size; how long a fetch may take, less than SDKs wait for a reply;
# how long keys are good without asking again, and how long it is believed that there is no such key; the
# pause between two fetches; and how many unknown keys one answer decides on.
JWKS_BYTES_MAX: Final = 256 * 1024
JWKS_KEYS_MAX: Final = 100
JWKS_MS: Final = 3_000
JWKS_FRESH_MS: Final = 3600 * 1000
JWKS_ABSENT_MS: Final = 60_000
JWKS_RETRY_MS: Final = 5_000
JWKS_ASKED_MAX: Final = 1_000
# What is revoked: decisions that hold at once, in one message of their stream, and in one answer; the largest
# id of a user or token; how often a node looks for new ones; connections it holds against them in one turn.
REVOCATIONS_MAX: Final = 100_000
REVOCATIONS_PER_MESSAGE_MAX: Final = 32
REVOKED_ID_BYTES_MAX: Final = 256
REVOCATIONS_PAGE_MAX: Final = 1_000
REVOCATIONS_LOOK_MS: Final = 500
REVOKED_PER_TURN_MAX: Final = 500
# Users, and addresses, whose use is counted at once; addresses that are not read again; and how often
# the commands that it may send end a connection, instead of an error for each.
SHARES_MAX: Final = 100_000
ADDRESSES_REMEMBERED_MAX: Final = 4_096
FLOOD: Final = 10
# Channels of one broadcast, commands of one batch.
API_ITEMS_MAX: Final = 10_000
# What the answer to one call may grow to before what else its commands would look at is refused, and how many
# commands of a parallel batch look at once.
API_ANSWER_BYTES_MAX: Final = 16 * 1024 * 1024
API_LOOKS_MAX: Final = 16
IDEMPOTENCY_KEY_BYTES_MAX: Final = 128
VERSION_MAX: Final = 2**63 - 1
VERSION_EPOCH_BYTES_MAX: Final = 128
IDEMPOTENCY_WINDOW_MS: Final = 24 * 3600 * 1000
IDEMPOTENCY_KEYS_MAX: Final = 10_000_000
GENERATIONS_MAX: Final = 1_000
CURSOR_BYTES_MAX: Final = 256
CLOSE_REASON_BYTES_MAX: Final = 123

# Jobs: a lease unless the queue says otherwise, the shortest and longest; how long a repeated settlement or
# claim gets the same answer; jobs of one claim or batch, and what those of a claim weigh; and how far ahead
# one may be due.
LEASE_MS: Final = 30_000
LEASE_MIN_MS: Final = 100
LEASE_MAX_MS: Final = 24 * 3600 * 1000
SETTLED_MS: Final = 600_000
CLAIM_JOBS_MAX: Final = 1_000
CLAIM_BYTES_MAX: Final = 4 * 1024 * 1024
# How long a call may wait for jobs, messages or a result; and calls that wait so on a node at once.
WAIT_MAX_MS: Final = 60_000
WAITERS_MAX: Final = 10_000
# An rpc waits for less: SDKs give up on a reply after 5 s.
RPC_WAIT_MAX_MS: Final = 4_000
# How often those who wait look all the same, and what a node knows of the declared queues is read again.
WAITING_CHECK_MS: Final = 1_000
# How often a node reads the schedules that others may have changed; a tick so long past counts as missed; and
# ticks that are caught up with at once.
SCHEDULES_CHECK_MS: Final = 10_000
TICK_MISSED_MS: Final = 10_000
TICKS_MAX: Final = 1_000
# Rates are measured over so long, at steps of so long.
RATES_MS: Final = 60_000
RATES_STEP_MS: Final = 10_000
# Numbers over time, for the console: how often a node keeps a sample and for how long, for plots of hours and
# of days; how often it tells one that is not kept while somebody follows; samples that are kept at most;
# queues and groups that are told of; and how many times as long as finding these took it is rested.
SAMPLE_MS: Final = 10_000
SAMPLED_MINUTES_MS: Final = 6 * 3600 * 1000
SAMPLE_SLOW_MS: Final = 300_000
SAMPLED_DAYS_MS: Final = 30 * 24 * 3600 * 1000
SAMPLE_FAST_MS: Final = 1_000
SAMPLES_MAX: Final = 50_000
SAMPLED_MAX: Final = 50
SAMPLING_REST: Final = 10
# What is kept of the audit stream.
AUDIT_MESSAGES_MAX: Final = 100_000
JOB_DELAY_MAX_MS: Final = 366 * 24 * 3600 * 1000
PRIORITY_MAX: Final = 9
ATTEMPTS_MAX: Final = 1_000
JOB_KEY_BYTES_MAX: Final = 255
# A request id so long is taken for one that nobody guesses.
REQUEST_SECRET_CHARS: Final = 32
JOB_HEADERS_BYTES_MAX: Final = 16 * 1024
JOB_REASON_BYTES_MAX: Final = 1_024
JOB_DETAILS_BYTES_MAX: Final = 16 * 1024
JOB_EMITS_MAX: Final = 1_000
QUEUE_NAME_BYTES_MAX: Final = 128
QUEUES_MAX: Final = 10_000
BROWSE_JOBS_MAX: Final = 1_000
SCHEDULES_MAX: Final = 10_000
# How often streams that compact are looked at, and how many times as long as that took it is rested.
COMPACT_CHECK_MS: Final = 60_000
COMPACT_REST: Final = 10
# Replays on a node at once, of which no pause is longer than this; how much faster than it was one may be.
REPLAYS_MAX: Final = 100
REPLAY_PAUSE_MAX_MS: Final = 3600 * 1000
REPLAY_FACTOR_MAX: Final = 1_000_000
# Partitions of a stream; groups, members of one; how long a member may be silent, at least and at most.
PARTITIONS_MAX: Final = 1_024
DECLARED_STREAMS_MAX: Final = 10_000
GROUPS_MAX: Final = 10_000
MEMBERS_MAX: Final = 1_024
SESSION_MIN_MS: Final = 1_000
SESSION_MAX_MS: Final = 600_000

# Hooks: how long one may take unless configured otherwise, less than SDKs wait for a reply; how many may be
# under way on a node; workers that serve them, calls that one takes at once, and after how long without a
# word from it a worker is gone; and the pause before one that failed to prolong something is asked again.
HOOK_MS: Final = 4_000
HOOKS_MAX: Final = 1_000
HOOK_WORKERS_MAX: Final = 1_000
HOOKS_TAKEN_MAX: Final = 100
HOOK_WORKER_AWAY_MS: Final = 1_000
HOOK_WORKER_GONE_MS: Final = 10_000
HOOK_RETRY_MS: Final = 5_000

# One HTTP request (RFC 9112): its head, its body, and how long each may take.
HEAD_BYTES_MAX: Final = 16 * 1024
# Heads of hot requests that are not parsed again.
HEADS_REMEMBERED_MAX: Final = 1_024
HEAD_FIELDS_MAX: Final = 100
TARGET_BYTES_MAX: Final = 8 * 1024
BODY_BYTES_MAX: Final = 1024 * 1024
HEAD_MS: Final = 5_000
BODY_MS: Final = 30_000
# An HTTP connection without a request, or one that does not take its last response.
IDLE_MS: Final = 60_000
# How long a peer may take to let go of a connection that is being closed.
CLOSE_MS: Final = 1_000
# A pause in accepting, when the process has run out of file descriptors.
ACCEPT_PAUSE_MS: Final = 1_000

# Processes that share a port. One that ended is started again after a pause that doubles with each time it
# did not last for so long; if so many do not start, one after the other, and none runs, all is given up.
SERVER_WORKERS_MAX: Final = 64
SERVER_WORKER_LASTS_MS: Final = 10_000
SERVER_WORKER_PAUSE_MS: Final = 100
SERVER_WORKER_PAUSE_MS_MAX: Final = 10_000
SERVER_WORKER_STARTS_MAX: Final = 5
# What a process that stops may take beyond its time, before it is ended.
SERVER_WORKER_CUT_MS: Final = 2_000
# How long a scrape waits for the numbers of all of them.
SERVER_WORKERS_TELL_MS: Final = 1_000

# A configuration file, and how many of its mistakes are told at once.
CONFIG_BYTES_MAX: Final = 4 * 1024 * 1024
MISTAKES_MAX: Final = 20
PEM_BYTES_MAX: Final = 1024 * 1024

# Connections whose TLS handshake is not over; one more, and the oldest of them is given up.
HANDSHAKES_MAX: Final = 1_024

# One WebSocket: fragments of a message, and written bytes that make it count as slow.
FRAGMENTS_MAX: Final = 1_024
SOCKET_HIGH_BYTES: Final = 64 * 1024
# What the kernel may hold for a socket besides that is not on its way yet.
SOCKET_UNSENT_BYTES: Final = 64 * 1024

# Lines of one kind that are logged in a second, and kinds; what is beyond that is counted.
LOG_LINES_PER_SECOND_MAX: Final = 20
LOG_KINDS_MAX: Final = 1_000

# Messages that a follower in this process has not taken yet; beyond it, it reads on from the log later.
INBOX_EVENTS_MAX: Final = 1_000
# A client's connection: until it stands; and the silence that ends it, beyond what lies between two pings.
CONNECT_MS: Final = 10_000
SILENCE_MS: Final = 10_000

# A store that several processes share: what one of them says at once, and calls of one that are in flight.
SHARED_FRAME_BYTES_MAX: Final = 128 * 1024 * 1024
SHARED_CALLS_MAX: Final = 10_000
# Processes that join one owner, and what waits to be written to one before it hears of no more hints.
GUESTS_MAX: Final = 256
SHARED_HIGH_BYTES: Final = 1024 * 1024
# How long a call waits for an owner, how often one is looked for, and how long one may be silent; a
# call that reaches its owner later than that is refused.
OWNER_WAIT_MS: Final = 5_000
OWNER_LOOK_MS: Final = 20
OWNER_BEAT_MS: Final = 1_000
OWNER_BEATS_MAX: Final = 5
CALL_LATE_MS: Final = 10_000
# Over TCP: what is read of somebody who has not proved the key, how many of an owner's latest pongs tell its
# time, when a connection from which nothing comes is dead, how often an owner is looked for, and the key.
SHARED_PROOF_BYTES_MAX: Final = 4 * 1024
SHARED_CLOCK_SAMPLES: Final = 8
SHARED_DEAD_MS: Final = 15_000
REMOTE_LOOK_MS: Final = 50
REMOTE_LOOK_MS_MAX: Final = 1_000
SHARED_KEY_BYTES_MIN: Final = 32

# Redis: how long to wait for a connection and its first answers, between tries, and for a rewrite of the
# append-only file; how often to say that this process is there, and when a silent server is given up.
REDIS_CONNECT_MS: Final = 3_000
REDIS_RETRY_MS: Final = 100
REDIS_REWRITE_MS: Final = 10_000
REDIS_PULSE_MS: Final = 1_000
REDIS_CALL_MS: Final = 4_000

# The failure lab: how long a fault lasts, how late the store answers, and how many appends wait for that.
LAB_FAULT_MS_MAX: Final = 60_000
LAB_DELAY_MS_MAX: Final = 5_000
LAB_WAITING_MAX: Final = 10_000

assert PAGE_BYTES_MAX >= MESSAGE_BYTES_MAX
assert COMMIT_ENTRIES_MAX <= WRITER_ENTRIES_MAX
assert TOLD_PAGE_BYTES_MAX * 2 <= TOLD_BYTES_MAX
