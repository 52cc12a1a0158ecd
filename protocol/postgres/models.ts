import { canonicalJson } from '#protocol/json.ts';
import { newEntries, recordFact } from '#protocol/ledger.ts';
import type { ModelManifest } from '#protocol/model.ts';
import type { Records } from '#protocol/records.ts';
import type { Group } from '#protocol/requirements.ts';
import type { Database, Transaction } from './database.ts';
import { writeEntries } from './ledgers.ts';

/** What is registered once and read often: groups of requirements and models. */

const insertModel =
  'INSERT INTO emp.models (model_id, manifest) VALUES ($1, $2) ON CONFLICT (model_id) DO NOTHING RETURNING model_id';
const replaceModel =
  'UPDATE emp.models SET manifest = $2 WHERE model_id = $1 AND manifest <> $2 RETURNING model_id';

async function putModel(tx: Transaction, manifest: ModelManifest, atMs: number): Promise<void> {
  const values = [manifest.id, canonicalJson(manifest)];
  const inserted = (await tx.query(insertModel, values)).length > 0;
  if (!inserted && (await tx.query(replaceModel, values)).length === 0) return;
  const entries = newEntries();
  const data = { modelId: manifest.id, replaced: !inserted };
  recordFact(entries, { type: 'model.registered', jobId: null, machineId: null, data, atMs });
  await writeEntries(tx, entries);
}

const internGroup =
  'INSERT INTO emp.requirement_groups (group_id, document) VALUES ($1, $2) ON CONFLICT (group_id) DO NOTHING';
const selectGroups = 'SELECT group_id, document FROM emp.requirement_groups ORDER BY group_id';

export function modelMethods(
  db: Database,
  nowMs: () => number,
): Pick<Records, 'internGroup' | 'listGroups' | 'putModel' | 'getModel' | 'listModels'> {
  const toManifest = (row: { manifest: string }): ModelManifest => JSON.parse(row.manifest);
  return {
    internGroup: async (groupId, group) => {
      await db.transaction((tx) => tx.query(internGroup, [groupId, JSON.stringify(group)]));
    },
    listGroups: async () => {
      const rows = await db.query<{ group_id: string; document: string }>(selectGroups);
      return rows.map((row) => ({ groupId: row.group_id, group: JSON.parse(row.document) as Group }));
    },
    putModel: (manifest) => db.transaction((tx) => putModel(tx, manifest, nowMs())),
    getModel: async (modelId) => {
      const rows = await db.query<{ manifest: string }>(
        'SELECT manifest FROM emp.models WHERE model_id = $1',
        [modelId],
      );
      return rows[0] ? toManifest(rows[0]) : null;
    },
    listModels: async () =>
      (await db.query<{ manifest: string }>('SELECT manifest FROM emp.models ORDER BY model_id')).map(
        toManifest,
      ),
  };
}
