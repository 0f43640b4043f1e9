--
-- PostgreSQL database dump
--


-- Dumped from database version 15.20 (Debian 15.20-0+deb12u1)
-- Dumped by pg_dump version 15.20 (Debian 15.20-0+deb12u1)

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: pgqueue; Type: EXTENSION; Schema: -; Owner: -
--

CREATE EXTENSION IF NOT EXISTS pgqueue WITH SCHEMA public;


--
-- Name: EXTENSION pgqueue; Type: COMMENT; Schema: -; Owner: 
--

COMMENT ON EXTENSION pgqueue IS 'message queue: leases with receipts, retries, dead letters, delays, priorities';


--
-- Data for Name: archive; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.archive (id, enqueued_at, settled_at, deliveries, queue, priority, group_key, payload, body, headers, errors) FROM stdin;
1	2026-11-29 02:38:54.905219+00	2026-11-29 02:38:54.906082+00	1	1	0	\N	"archived"	\N	\N	\N
\.


--
-- Data for Name: counter; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.counter (queue, pushed, delivered, deleted, retried, died, expired, ready, leased, delayed, blocked, dead, here) FROM stdin;
2	3	1	0	0	0	0	0	0	0	0	0	f
5	1	0	0	0	0	0	0	0	0	0	0	f
1	10	6	1	1	2	0	0	0	0	0	0	f
4	2	1	0	0	0	0	0	0	0	0	0	f
3	2	1	1	0	0	0	0	0	0	0	0	f
\.


--
-- Data for Name: dead; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.dead (id, enqueued_at, died_at, deliveries, queue, priority, reason, lease_ms, max_deliveries, group_key, payload, body, headers, errors) FROM stdin;
2	2026-11-29 02:38:54.906609+00	2026-11-29 02:38:54.908265+00	1	1	0	failed	\N	1	\N	"failed"	\N	\N	[{"at": "2026-11-29T02:38:54.908253+00:00", "error": "no luck", "delivery": 1}]
3	2026-11-29 02:38:54.9093+00	2026-11-29 02:38:54.910456+00	1	1	0	buried	\N	\N	\N	"buried"	\N	\N	[{"at": "2026-11-29T02:38:54.910448+00:00", "error": "hopeless", "delivery": 1}]
\.


--
-- Data for Name: message; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.message (id, enqueued_at, lease_until, deliveries, queue, priority, lane, in_turn, due_at, expires_at, lease_ms, max_deliveries, key_place, group_key, dedup_key, payload, body, headers, errors) FROM stdin;
4	2026-11-29 02:38:54.910923+00	-infinity	1	1	0	d	f	2035-02-15 02:38:54.911401+00	\N	\N	\N	\N	\N	\N	"retried"	\N	\N	[{"at": "2026-11-29T02:38:54.911402+00:00", "error": "try again", "delivery": 1}]
5	2026-11-29 02:38:54.912063+00	2081-09-01 02:38:54.912356+00	1	1	0	r	f	\N	\N	\N	\N	\N	\N	\N	"leased"	\N	\N	\N
7	2026-11-29 02:38:54.912898+00	-infinity	0	1	0	d	f	2099-01-01 00:00:00+00	\N	\N	\N	\N	\N	\N	"delayed"	\N	{"h": 1}	\N
8	2026-11-29 02:38:54.913222+00	-infinity	0	1	-5	r	f	\N	\N	\N	\N	\N	\N	\N	"urgent"	\N	\N	\N
9	2026-11-29 02:38:54.913569+00	-infinity	0	1	0	r	f	\N	2081-09-01 02:38:54.913569+00	3600000	\N	\N	\N	\N	\N	\\x00ff	\N	\N
10	2026-11-29 02:38:54.913957+00	-infinity	0	1	0	r	f	\N	\N	\N	\N	\N	\N	\N	1.000000000000000000001	\N	\N	\N
12	2026-11-29 02:38:54.915376+00	-infinity	0	2	0	b	f	\N	\N	\N	\N	\N	g	\N	2	\N	\N	\N
13	2026-11-29 02:38:54.915396+00	-infinity	0	2	0	b	f	\N	\N	\N	\N	\N	g	\N	3	\N	\N	\N
11	2026-11-29 02:38:54.915296+00	2081-09-01 02:38:54.91573+00	1	2	0	r	t	\N	\N	\N	\N	\N	g	\N	1	\N	\N	\N
14	2026-11-29 02:38:54.916696+00	-infinity	0	3	0	r	f	\N	\N	\N	\N	0	\N	k	"waiting"	\N	\N	\N
17	2026-11-29 02:38:54.920593+00	-infinity	0	4	0	r	f	\N	\N	\N	\N	\N	\N	\N	2	\N	\N	\N
16	2026-11-29 02:38:54.920593+00	2081-09-01 02:38:54.92119+00	1	4	0	r	f	\N	\N	\N	\N	\N	\N	\N	1	\N	\N	\N
18	2026-11-29 02:38:54.922408+00	-infinity	0	5	0	r	f	\N	\N	\N	\N	\N	\N	\N	1	\N	\N	\N
6	2026-11-29 02:38:54.912461+00	-infinity	1	1	0	r	f	\N	\N	\N	\N	\N	\N	\N	"expired lease"	\N	\N	\N
\.


--
-- Data for Name: privilege; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.privilege (queue, role, role_id, privilege) FROM stdin;
\.


--
-- Data for Name: queue; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.queue (id, name, owner, settings, paused, created_at, owner_id) FROM stdin;
1	plain	owner	{"archive": "1000 days", "backoff": {"max": "3000 days", "base": "3000 days", "jitter": 0}}	f	2026-11-29 02:38:54.903417+00	16616
2	groups	owner	{}	f	2026-11-29 02:38:54.914376+00	16616
3	keys	owner	{"dedup_window": "1000 days"}	f	2026-11-29 02:38:54.915916+00	16616
4	slots	owner	{"max_leased": 1}	f	2026-11-29 02:38:54.919369+00	16616
5	paused	owner	{}	t	2026-11-29 02:38:54.921547+00	16616
\.


--
-- Data for Name: recent_key; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.recent_key (queue, dedup_key, id, seen_at) FROM stdin;
3	k	14	2026-11-29 02:38:54.917361+00
3	gone	15	2026-11-29 02:38:54.918539+00
\.


--
-- Data for Name: schedule; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.schedule (name, owner, queue, every, time_zone, payload, headers, priority, ttl_ms, group_key, dedup_key, on_duplicate, lease_ms, max_deliveries, query, search_path, max_changes, next_run, last_run, last_error, owner_id, seen_to) FROM stdin;
yearly	owner	plain	0 0 1 1 *	Europe/Berlin	"scheduled"	\N	0	\N	\N	\N	ignore	\N	\N	\N	\N	\N	2026-12-31 23:00:00+00	\N	\N	16616	\N
roles	owner	plain	1000 days	UTC	\N	\N	\N	\N	\N	\N	\N	\N	\N	SELECT oid, rolname FROM pg_roles	"$user", public	1000	2029-08-25 02:38:54.927619+00	\N	\N	16616	\N
\.


--
-- Data for Name: slot; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.slot (queue, number, message, delivery) FROM stdin;
4	1	16	1
\.


--
-- Data for Name: watch_seen; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.watch_seen (watch, object_id, hash) FROM stdin;
\.


--
-- Name: message_id; Type: SEQUENCE SET; Schema: pgqueue; Owner: postgres
--

SELECT pg_catalog.setval('pgqueue.message_id', 18, true);


--
-- Name: queue_id; Type: SEQUENCE SET; Schema: pgqueue; Owner: postgres
--

SELECT pg_catalog.setval('pgqueue.queue_id', 5, true);


--
-- PostgreSQL database dump complete
--


