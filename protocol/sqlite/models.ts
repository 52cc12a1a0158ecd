import { canonicalJson } from '#protocol/json.ts';
import { newEntries, recordFact } from '#protocol/ledger.ts';
import type { ModelManifest } from '#protocol/model.ts';
import type { Records } from '#protocol/records.ts';
import type { Group } from '#protocol/requirements.ts';
import type { Database, Row } from './database.ts';
import { Documents } from './documents.ts';
import { writeEntries } from './ledger.ts';

/** What is registered once and read often: groups of requirements and models. */

function putModel(db: Database, manifest: ModelManifest, atMs: number): void {
  const text = canonicalJson(manifest);
  const known = db.get('SELECT manifest FROM models WHERE model_id = ?', manifest.id);
  if (known?.manifest === text) return;
  db.run(
    'INSERT INTO models (model_id, manifest) VALUES (?, ?) ON CONFLICT (model_id) DO UPDATE SET manifest = excluded.manifest',
    manifest.id,
    text,
  );
  const entries = newEntries();
  const data = { modelId: manifest.id, replaced: known !== undefined };
  recordFact(entries, { type: 'model.registered', jobId: null, machineId: null, data, atMs });
  writeEntries(db, null, entries);
}

/** Parsed groups and models kept at hand. */
const parsedGroupsLimit = 20_000;
const parsedModelsLimit = 2_000;

function documentOf(db: Database, groupId: string): string {
  return String(db.get('SELECT document FROM requirement_groups WHERE group_id = ?', groupId)?.document);
}

export function modelMethods(
  db: Database,
  nowMs: () => number,
): Pick<Records, 'internGroup' | 'listGroups' | 'putModel' | 'getModel' | 'listModels'> {
  const groups = new Documents<Group>({ limit: parsedGroupsLimit });
  const manifests = new Documents<ModelManifest>({ limit: parsedModelsLimit });
  const manifestOf = ({ manifest }: Row) => manifests.get(String(manifest), () => String(manifest));
  return {
    internGroup: (groupId, group) =>
      db.write(() => {
        db.run(
          'INSERT INTO requirement_groups (group_id, document) VALUES (?, ?) ON CONFLICT (group_id) DO NOTHING',
          groupId,
          JSON.stringify(group),
        );
      }),
    listGroups: () =>
      db.readOne(() => {
        // Hubs ask every few seconds, and a group is never changed: only new documents are read.
        const ids = db.all('SELECT group_id FROM requirement_groups ORDER BY group_id');
        return ids.map((row) => {
          const groupId = String(row.group_id);
          return { groupId, group: groups.get(groupId, () => documentOf(db, groupId)) };
        });
      }),
    putModel: (manifest) => db.write(() => putModel(db, manifest, nowMs())),
    getModel: (modelId) =>
      db.readOne(() => {
        const row = db.get('SELECT manifest FROM models WHERE model_id = ?', modelId);
        return row ? manifestOf(row) : null;
      }),
    listModels: () =>
      db.readOne(() => db.all('SELECT manifest FROM models ORDER BY model_id').map(manifestOf)),
  };
}
