BEGIN TRANSACTION;
CREATE TABLE alerts (
	sequence INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, 
	case_id TEXT NOT NULL, 
	recorded_s DOUBLE NOT NULL, 
	body BLOB NOT NULL, 
	FOREIGN KEY(case_id) REFERENCES cases (case_id)
);
INSERT INTO "alerts" VALUES(1,'case_02866f14d53eb122',100.0,X'73657373696F6E2D62206E6577');
INSERT INTO "alerts" VALUES(2,'case_4fda56c2364a657a',200.0,X'73657373696F6E2D61206E6577');
INSERT INTO "alerts" VALUES(3,'case_02866f14d53eb122',300.0,X'73657373696F6E2D6220776F727365');
INSERT INTO "alerts" VALUES(4,'case_921c839702e546e8',300.0,X'73657373696F6E2D63206E6577');
INSERT INTO "alerts" VALUES(5,'case_02866f14d53eb122',301.0,X'6E6F742064656C697665726564');
CREATE TABLE cases (
	case_id TEXT NOT NULL, 
	tenant TEXT NOT NULL, 
	agent TEXT NOT NULL, 
	session TEXT NOT NULL, 
	principal TEXT NOT NULL, 
	level TEXT NOT NULL, 
	score DOUBLE NOT NULL, 
	n DOUBLE NOT NULL, 
	alerts INTEGER NOT NULL, 
	first_event_us BIGINT NOT NULL, 
	last_event_us BIGINT NOT NULL, 
	opened_s DOUBLE NOT NULL, 
	updated_s DOUBLE NOT NULL, 
	PRIMARY KEY (case_id)
);
INSERT INTO "cases" VALUES('case_02866f14d53eb122','','billing-bot','session-b','jane@example.com','suspend',83.0,14125.0,2,1795312800123456,1795312800123456,100.0,300.0);
INSERT INTO "cases" VALUES('case_4fda56c2364a657a','','billing-bot','session-a','jane@example.com','suspend',83.0,14125.0,1,1795312800123456,1795312800123456,200.0,200.0);
INSERT INTO "cases" VALUES('case_921c839702e546e8','','billing-bot','session-c','jane@example.com','suspend',83.0,14125.0,1,1795312800123456,1795312800123456,300.0,300.0);
CREATE TABLE decisions (
	decision_id TEXT NOT NULL, 
	case_id TEXT NOT NULL, 
	event_us BIGINT NOT NULL, 
	recorded_s DOUBLE NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (decision_id), 
	FOREIGN KEY(case_id) REFERENCES cases (case_id)
);
INSERT INTO "decisions" VALUES('dec_e59736263e6730bd','case_02866f14d53eb122',1795312800123456,100.0,'{"id":"dec_e59736263e6730bd","case":"case_02866f14d53eb122","level":"alert","withheld":"","ts_us":1795312800123456,"tenant":"","agent":"billing-bot","session":"session-b","principal":"jane@example.com","group":"finance","kind":"ai_agent","event_id":"event-41","score":61.0,"n":1122.0,"certified":true,"limit":80.0,"reason":"score","policy":"default","mode":"enforce","age_class":2,"model":"model-1","config":"config-1","evidence":[{"channel":"resource","item":"payroll.salaries","level":"own","seen":"41 new tables","usual":"at most 2 in a session","bits":17.5,"share":1.0,"event_ids":["event-40","event-41"],"sentence":"read 41 tables it never read before; usual are at most 2 in a session"}]}');
INSERT INTO "decisions" VALUES('dec_b3e428ba545a6aeb','case_4fda56c2364a657a',1795312800123456,200.0,'{"id":"dec_b3e428ba545a6aeb","case":"case_4fda56c2364a657a","level":"suspend","withheld":"","ts_us":1795312800123456,"tenant":"","agent":"billing-bot","session":"session-a","principal":"jane@example.com","group":"finance","kind":"ai_agent","event_id":"event-41","score":83.0,"n":14125.0,"certified":true,"limit":80.0,"reason":"score","policy":"default","mode":"enforce","age_class":2,"model":"model-1","config":"config-1","evidence":[{"channel":"resource","item":"payroll.salaries","level":"own","seen":"41 new tables","usual":"at most 2 in a session","bits":17.5,"share":1.0,"event_ids":["event-40","event-41"],"sentence":"read 41 tables it never read before; usual are at most 2 in a session"}]}');
INSERT INTO "decisions" VALUES('dec_4c522c6b11f82802','case_02866f14d53eb122',1795312800123456,300.0,'{"id":"dec_4c522c6b11f82802","case":"case_02866f14d53eb122","level":"suspend","withheld":"","ts_us":1795312800123456,"tenant":"","agent":"billing-bot","session":"session-b","principal":"jane@example.com","group":"finance","kind":"ai_agent","event_id":"event-41","score":83.0,"n":14125.0,"certified":true,"limit":80.0,"reason":"score","policy":"default","mode":"enforce","age_class":2,"model":"model-1","config":"config-1","evidence":[{"channel":"resource","item":"payroll.salaries","level":"own","seen":"41 new tables","usual":"at most 2 in a session","bits":17.5,"share":1.0,"event_ids":["event-40","event-41"],"sentence":"read 41 tables it never read before; usual are at most 2 in a session"}]}');
INSERT INTO "decisions" VALUES('dec_c135c756bc18ad24','case_921c839702e546e8',1795312800123456,300.0,'{"id":"dec_c135c756bc18ad24","case":"case_921c839702e546e8","level":"suspend","withheld":"","ts_us":1795312800123456,"tenant":"","agent":"billing-bot","session":"session-c","principal":"jane@example.com","group":"finance","kind":"ai_agent","event_id":"event-41","score":83.0,"n":14125.0,"certified":true,"limit":80.0,"reason":"score","policy":"finance","mode":"enforce","age_class":2,"model":"model-1","config":"config-1","evidence":[{"channel":"resource","item":"payroll.salaries","level":"own","seen":"41 new tables","usual":"at most 2 in a session","bits":17.5,"share":1.0,"event_ids":["event-40","event-41"],"sentence":"read 41 tables it never read before; usual are at most 2 in a session"}]}');
CREATE TABLE deliveries (
	webhook_id TEXT NOT NULL, 
	case_id TEXT NOT NULL, 
	endpoint TEXT NOT NULL, 
	body BLOB NOT NULL, 
	state TEXT NOT NULL, 
	created_s DOUBLE NOT NULL, 
	expires_s DOUBLE NOT NULL, 
	next_attempt_s DOUBLE NOT NULL, 
	attempts INTEGER NOT NULL, 
	last_status INTEGER, 
	last_error TEXT NOT NULL, 
	last_attempt_s DOUBLE, 
	delivered_s DOUBLE, 
	PRIMARY KEY (webhook_id), 
	FOREIGN KEY(case_id) REFERENCES suspensions (case_id)
);
INSERT INTO "deliveries" VALUES('msg_session-a_siem','case_4fda56c2364a657a','siem',X'7B2273757370656E64223A2273657373696F6E2D61227D','delivered',200.0,3800.0,200.0,1,200,'',201.0,201.0);
INSERT INTO "deliveries" VALUES('msg_session-a_gateway','case_4fda56c2364a657a','gateway',X'7B2273757370656E64223A2273657373696F6E2D61227D','pending',200.0,3800.0,207.0,1,503,'busy',202.0,NULL);
INSERT INTO "deliveries" VALUES('msg_session-b_siem','case_02866f14d53eb122','siem',X'7B2273757370656E64223A2273657373696F6E2D62227D','failed',300.0,3900.0,300.0,1,400,'answered 400 Bad Request',301.0,NULL);
INSERT INTO "deliveries" VALUES('msg_session-b_gateway','case_02866f14d53eb122','gateway',X'7B2273757370656E64223A2273657373696F6E2D62227D','pending',300.0,3900.0,300.0,0,NULL,'',NULL,NULL);
INSERT INTO "deliveries" VALUES('msg_session-c_siem','case_921c839702e546e8','siem',X'7B2273757370656E64223A2273657373696F6E2D63227D','pending',300.0,3900.0,300.0,0,NULL,'',NULL,NULL);
INSERT INTO "deliveries" VALUES('msg_session-c_gateway','case_921c839702e546e8','gateway',X'7B2273757370656E64223A2273657373696F6E2D63227D','pending',300.0,3900.0,300.0,0,NULL,'',NULL,NULL);
CREATE TABLE endpoints (
	name TEXT NOT NULL, 
	disabled_s DOUBLE, 
	reason TEXT NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "endpoints" VALUES('gateway',302.0,'answered 410 Gone');
CREATE TABLE marks (
	name TEXT NOT NULL, 
	sequence INTEGER NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "marks" VALUES('alerts:/var/lib/astray/alerts.jsonl',3);
CREATE TABLE meta (
	"key" TEXT NOT NULL, 
	value TEXT NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('schema_version','1');
CREATE TABLE suspensions (
	case_id TEXT NOT NULL, 
	decision_id TEXT NOT NULL, 
	state TEXT NOT NULL, 
	requested_s DOUBLE NOT NULL, 
	settled_s DOUBLE, 
	PRIMARY KEY (case_id), 
	FOREIGN KEY(case_id) REFERENCES cases (case_id), 
	FOREIGN KEY(decision_id) REFERENCES decisions (decision_id)
);
INSERT INTO "suspensions" VALUES('case_4fda56c2364a657a','dec_b3e428ba545a6aeb','delivered',200.0,201.0);
INSERT INTO "suspensions" VALUES('case_02866f14d53eb122','dec_4c522c6b11f82802','requested',300.0,NULL);
INSERT INTO "suspensions" VALUES('case_921c839702e546e8','dec_c135c756bc18ad24','requested',300.0,NULL);
CREATE INDEX cases_updated ON cases (updated_s);
CREATE INDEX decisions_of_case ON decisions (case_id);
CREATE INDEX suspensions_by_state ON suspensions (state);
CREATE INDEX deliveries_of_case ON deliveries (case_id);
CREATE INDEX deliveries_due ON deliveries (state, endpoint, next_attempt_s, created_s);
CREATE INDEX deliveries_expiring ON deliveries (state, expires_s);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('alerts',5);
COMMIT;
