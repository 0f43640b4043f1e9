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
\.


--
-- Data for Name: counter; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.counter (queue, pushed, delivered, deleted, retried, died, expired, ready, leased, delayed, blocked, dead, here) FROM stdin;
\.


--
-- Data for Name: dead; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.dead (id, enqueued_at, died_at, deliveries, queue, priority, reason, lease_ms, max_deliveries, group_key, payload, body, headers, errors) FROM stdin;
\.


--
-- Data for Name: message; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.message (id, enqueued_at, lease_until, deliveries, queue, priority, lane, in_turn, due_at, expires_at, lease_ms, max_deliveries, key_place, group_key, dedup_key, payload, body, headers, errors) FROM stdin;
1	2026-11-29 02:38:55.891814+00	2081-09-01 02:38:55.893758+00	1	1	0	r	f	\N	\N	\N	\N	1	\N	a	"a old"	\N	\N	\N
2	2026-11-29 02:38:55.894002+00	-infinity	0	1	0	r	f	\N	\N	\N	\N	0	\N	a	"a new"	\N	\N	\N
3	2026-11-29 02:38:55.894741+00	-infinity	1	1	-1	r	f	\N	\N	\N	\N	3	\N	b	"b"	\N	\N	\N
4	2026-11-29 02:38:55.895809+00	-infinity	0	1	0	r	f	\N	\N	\N	\N	0	\N	c	"c"	\N	\N	\N
5	2026-11-29 02:38:55.896411+00	2026-11-29 02:38:55.898018+00	1	1	-2	r	f	\N	\N	\N	\N	5	\N	d	"d old"	\N	\N	\N
6	2026-11-29 02:38:55.897221+00	2026-11-29 02:38:55.898995+00	1	1	-3	r	f	\N	\N	\N	\N	6	\N	d	"d new"	\N	\N	\N
7	2026-11-29 02:38:55.898184+00	-infinity	1	1	-4	r	f	\N	\N	\N	\N	0	\N	e	"e"	\N	\N	\N
11	2026-11-29 02:38:55.901243+00	-infinity	0	2	0	r	f	\N	\N	\N	\N	\N	\N	\N	3	\N	\N	\N
12	2026-11-29 02:38:55.901243+00	-infinity	0	2	0	r	f	\N	\N	\N	\N	\N	\N	\N	4	\N	\N	\N
9	2026-11-29 02:38:55.901243+00	2081-09-01 02:38:55.901902+00	1	2	0	r	f	\N	\N	\N	\N	\N	\N	\N	1	\N	\N	\N
10	2026-11-29 02:38:55.901243+00	2081-09-01 02:38:55.902126+00	1	2	0	r	f	\N	\N	\N	\N	\N	\N	\N	2	\N	\N	\N
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
1	k	postgres	{}	f	2026-11-29 02:38:55.889691+00	10
2	l	postgres	{"max_leased": 3}	f	2026-11-29 02:38:55.899791+00	10
\.


--
-- Data for Name: recent_key; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.recent_key (queue, dedup_key, id, seen_at) FROM stdin;
\.


--
-- Data for Name: schedule; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.schedule (name, owner, queue, every, time_zone, payload, headers, priority, ttl_ms, group_key, dedup_key, on_duplicate, lease_ms, max_deliveries, query, search_path, max_changes, next_run, last_run, last_error, owner_id, seen_to) FROM stdin;
\.


--
-- Data for Name: slot; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.slot (queue, number, message, delivery) FROM stdin;
2	1	0	0
2	3	9	1
2	2	10	1
\.


--
-- Data for Name: watch_seen; Type: TABLE DATA; Schema: pgqueue; Owner: postgres
--

COPY pgqueue.watch_seen (watch, object_id, hash) FROM stdin;
\.


--
-- Name: message_id; Type: SEQUENCE SET; Schema: pgqueue; Owner: postgres
--

SELECT pg_catalog.setval('pgqueue.message_id', 12, true);


--
-- Name: queue_id; Type: SEQUENCE SET; Schema: pgqueue; Owner: postgres
--

SELECT pg_catalog.setval('pgqueue.queue_id', 2, true);


--
-- PostgreSQL database dump complete
--


