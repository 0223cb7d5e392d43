PRAGMA user_version=4;
PRAGMA application_id=1853060106;
BEGIN TRANSACTION;
CREATE TABLE inboxes (
        root BLOB PRIMARY KEY,
        mount TEXT NOT NULL                   -- on which files were last seen in it
    ) STRICT, WITHOUT ROWID;
INSERT INTO "inboxes" VALUES(X'2F7372762F73747564696F2F696E626F78','ext4 at /');
CREATE TABLE log (id INTEGER PRIMARY KEY, line TEXT NOT NULL) STRICT;
CREATE TABLE log_end (only INTEGER PRIMARY KEY CHECK (only = 1), bytes INTEGER NOT NULL) STRICT;
INSERT INTO "log_end" VALUES(1,11147);
CREATE TABLE pairs (
        content BLOB NOT NULL,
        style TEXT NOT NULL,
        job TEXT NOT NULL,
        sha256 TEXT NOT NULL,
        recipe TEXT NOT NULL,
        state TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        target BLOB NOT NULL DEFAULT x'',     -- stem in the outbox, decided once
        target_key BLOB NOT NULL DEFAULT x'', -- the same, without case and Unicode spelling
        outputs TEXT NOT NULL DEFAULT '[]',   -- what stands in the outbox
        staged TEXT NOT NULL DEFAULT '{}',    -- what waits to be published, and its log line
        losses TEXT NOT NULL DEFAULT '{}',
        seconds REAL NOT NULL DEFAULT 0,
        device TEXT NOT NULL DEFAULT '',
        code TEXT NOT NULL DEFAULT '',
        message TEXT NOT NULL DEFAULT '',
        updated REAL NOT NULL, next_at REAL NOT NULL DEFAULT 0, faults INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (content, style)
    ) STRICT, WITHOUT ROWID;
INSERT INTO "pairs" VALUES(X'6375702E706E67','mosaic','4857901bf073','e800b8433dd0ff4f1f6692479100a24ee70315b3b8f7da1bc8b958179923613a','49ebd4284cf690cf','done',1,X'6375702D2D6D6F73616963',X'6375702D2D6D6F73616963','[{"kind": "stylized", "path": "cup--mosaic.png", "sha256": "de9829e79b95ab69dbad4e9d4669d0ae7e3fb9782e675efedf14a35fa586f621", "bytes": 3001, "width": 32, "height": 24}, {"kind": "enhanced", "path": "cup--mosaic.enhanced.png", "sha256": "4cca5df653c64611127b5c35d27826cf3beb3aac00fd077212ef67c5c72bda19", "bytes": 3041, "width": 32, "height": 24}]','{}','{"content": 0.779815137386322, "style": 0.6584398746490479, "tv": 0.003643790725618601, "total": 0.8924573063850403}',3.28173644599974068114e+00,'cpu','','',1.79599575254985475538e+09,0.0,0);
INSERT INTO "pairs" VALUES(X'6375702E706E67','waves','3657a2b45cf6','e800b8433dd0ff4f1f6692479100a24ee70315b3b8f7da1bc8b958179923613a','e2121aaf5d7851c6','done',1,X'6375702D2D7761766573',X'6375702D2D7761766573','[{"kind": "stylized", "path": "cup--waves.png", "sha256": "634ac0380f70055598c4eaf1aeffd89735ec0c6eca53245c84a2cda7b5c1d4b3", "bytes": 3246, "width": 32, "height": 24}, {"kind": "enhanced", "path": "cup--waves.enhanced.png", "sha256": "95f2f141a506f9031b54eda6989a9be875d31c3b7fdbd4a505991351336155b8", "bytes": 3281, "width": 32, "height": 24}]','{}','{"content": 0.7198447585105896, "style": 0.714035153388977, "tv": 0.009016577154397964, "total": 0.9301689267158508}',1.23893290400019395747e+00,'cpu','','',1.79599575309501266482e+09,0.0,0);
INSERT INTO "pairs" VALUES(X'747269702F666C61672E6A7067','mosaic','349952438c38','22246904bd2bcdf91b4ebdeb6b3d451449139d514f4cbf2b20afa6fc9ff0030e','49ebd4284cf690cf','done',1,X'747269702F666C61672D2D6D6F73616963',X'747269702F666C61672D2D6D6F73616963','[{"kind": "stylized", "path": "trip/flag--mosaic.png", "sha256": "264808be611ab0738967b5d51f4d287f6446716b8bd1ce2665346f33db7b261f", "bytes": 3565, "width": 24, "height": 32}, {"kind": "enhanced", "path": "trip/flag--mosaic.enhanced.png", "sha256": "1509bdce63101d694f690d8d6248247568cbdb8127ef7e16d94369fc736e1b12", "bytes": 3574, "width": 24, "height": 32}]','{}','{"content": 1.6139485836029053, "style": 1.0422018766403198, "tv": 0.05973692983388901, "total": 1.5275812149047852}',6.1410181600058422191e-01,'cpu','','',1.79599575367034888263e+09,0.0,0);
INSERT INTO "pairs" VALUES(X'747269702F666C61672E6A7067','waves','ce841d9fc14f','22246904bd2bcdf91b4ebdeb6b3d451449139d514f4cbf2b20afa6fc9ff0030e','e2121aaf5d7851c6','done',1,X'747269702F666C61672D2D7761766573',X'747269702F666C61672D2D7761766573','[{"kind": "stylized", "path": "trip/flag--waves.png", "sha256": "06179f558c28202cf086e6d65b825620c28384f4d664ffa84ac69e327b3bcc97", "bytes": 3478, "width": 24, "height": 32}, {"kind": "enhanced", "path": "trip/flag--waves.enhanced.png", "sha256": "dc8260a8c088b1962ce265a776ddcc2bc5502d204bff692513993d43ea268faf", "bytes": 3477, "width": 24, "height": 32}]','{}','{"content": 0.9861241579055786, "style": 0.8061537146568298, "tv": 0.04911145567893982, "total": 1.102973222732544}',6.21671269000216852873e-01,'cpu','','',1.79599575425432872767e+09,0.0,0);
CREATE TABLE seen (
        content BLOB PRIMARY KEY,
        stamp TEXT NOT NULL,                  -- the version of the file
        sha256 TEXT NOT NULL DEFAULT '',
        status TEXT NOT NULL DEFAULT '',      -- failed or skipped, where the file was refused
        code TEXT NOT NULL DEFAULT '',
        message TEXT NOT NULL DEFAULT ''
    ) STRICT, WITHOUT ROWID;
INSERT INTO "seen" VALUES(X'6375702E706E67','139.1795995741919529886.1795995741919529886.2181561','e800b8433dd0ff4f1f6692479100a24ee70315b3b8f7da1bc8b958179923613a','','','');
INSERT INTO "seen" VALUES(X'68616C662E6A7067','500.1795995741932328157.1795995741932328157.2181563','','failed','truncated','the file is cut off or damaged (copy or download it again)');
INSERT INTO "seen" VALUES(X'6C6973742E747874','','','skipped','unsupported_format','''.txt'' is no picture; accepted: .avif .bmp .gif .heic .heif .hif .jpe .jpeg .jpg .png .tif .tiff .webp');
INSERT INTO "seen" VALUES(X'747269702F666C61672E6A7067','869.1795995741932092227.1795995741932092227.2181562','22246904bd2bcdf91b4ebdeb6b3d451449139d514f4cbf2b20afa6fc9ff0030e','','','');
CREATE UNIQUE INDEX pairs_target ON pairs (target_key) WHERE target_key <> x'';
CREATE INDEX pairs_state ON pairs (state, updated);
CREATE INDEX pairs_photo ON pairs (sha256, state);
COMMIT;
