import type { Redis } from 'ioredis';

const prefix = '{emp:0}:';

/**
 * Every disagreement between the entries and the indexes: a job is in exactly the index of its state,
 * every index entry has its job, heads are the true heads, and no key is of an unknown kind. Lines of a
 * generation that no step looks at any more are no disagreement: half of a step that a server played again
 * may have left some (`unservedKeys`).
 */
export async function indexProblems(redis: Redis): Promise<string[]> {
  const audit = new Audit(redis);
  await audit.run();
  return audit.problems;
}

/** Keys of lines of generations that are neither claimable nor in quarantine. */
export async function unservedKeys(redis: Redis): Promise<string[]> {
  const served = await servedGens(redis);
  return (await redis.keys('*')).filter((key) => isUnserved(key, served));
}

const kindsOfGens = new Set(['lane', 'lanes', 'head', 'heads', 'delayed']);

function isUnserved(key: string, served: ReadonlySet<string>): boolean {
  const [kind = '', gen = ''] = key.slice(prefix.length).split(':');
  return kindsOfGens.has(kind) && !served.has(gen);
}

async function servedGens(redis: Redis): Promise<ReadonlySet<string>> {
  const standing = (await redis.hget(`${prefix}meta`, 'standing')) ?? '- - 1 - 0 0 ';
  const [, , gen = '', , , , ...quarantines] = standing.trim().split(' ');
  return new Set([gen, ...quarantines]);
}

class Audit {
  readonly problems: string[] = [];
  readonly #redis: Redis;
  /** Keys by their kind, the part before the first colon, with the rest. */
  readonly #keys = new Map<string, string[]>();
  readonly #jobs = new Map<string, Job>();

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async run(): Promise<void> {
    const served = await servedGens(this.#redis);
    for (const key of await this.#redis.keys('*')) {
      if (isUnserved(key, served)) continue;
      const [kind = '', ...rest] = key.slice(prefix.length).split(':');
      this.#keys.set(kind, [...(this.#keys.get(kind) ?? []), rest.join(':')]);
      if (!key.startsWith(prefix) || !knownKinds.has(kind)) this.problems.push(`unknown key ${key}`);
      if ((await this.#redis.ttl(key)) !== -1) this.problems.push(`${key} would expire`);
    }
    for (const id of this.#rest('job')) this.#jobs.set(id, await this.#job(id));
    await this.#ids();
    await this.#lanes();
    await this.#members('delayed', 'd', (name, job) => job.gen === name);
    await this.#members('held', 'l', (name, job) => job.holder === name);
    await this.#incarnations();
    await this.#idle();
  }

  #rest(kind: string): string[] {
    return this.#keys.get(kind) ?? [];
  }

  async #job(id: string): Promise<Job> {
    const words = ((await this.#redis.get(`${prefix}job:${id}`)) ?? '').split(' ');
    this.#check(words.length === (words[0] === 'l' ? 21 : 16), `job ${id} has ${words.length} words`);
    const [state = '', gen = '', ...rest] = words;
    const [group = '', affinity = '', pool = ''] = rest.slice(7);
    const [hasBody = '', holder = ''] = rest.slice(12);
    return { state, gen, group, affinity, pool, hasBody: hasBody === '1', holder };
  }

  #check(holds: boolean, problem: string): void {
    if (!holds) this.problems.push(problem);
  }

  async #ids(): Promise<void> {
    const ids = await this.#redis.zrange(`${prefix}ids`, '0', '-1');
    this.#check(ids.length === this.#jobs.size, `${ids.length} ids, ${this.#jobs.size} jobs`);
    for (const id of ids) this.#check(this.#jobs.has(id), `id ${id} has no job`);
    const bodies = this.#rest('body');
    for (const id of bodies) this.#check(this.#jobs.get(id)?.hasBody === true, `body of ${id} has no job`);
    const wanted = [...this.#jobs.values()].filter((job) => job.hasBody).length;
    this.#check(bodies.length === wanted, `${bodies.length} bodies, ${wanted} jobs that say to have one`);
    for (const id of await this.#redis.zrange(`${prefix}tombends`, '0', '-1'))
      this.#check(
        (await this.#redis.hexists(`${prefix}tombstones`, id)) === 1,
        `${id} has an end, no tombstone`,
      );
  }

  /** Members of keys of one kind against the jobs in that state, both ways. */
  async #members(kind: string, state: string, fits: (name: string, job: Job) => boolean): Promise<void> {
    let found = 0;
    for (const name of this.#rest(kind)) {
      for (const member of await this.#redis.zrange(`${prefix}${kind}:${name}`, '0', '-1')) {
        const [id = '', pool] = member.split(' ');
        const job = this.#jobs.get(id);
        const poolNoted = kind === 'lane' ? job?.pool : undefined;
        this.#check(pool === poolNoted, `${id} is in ${kind}:${name} with pool ${pool}, has ${poolNoted}`);
        this.#check(
          job?.state === state && fits(name, job),
          `${id} is in ${kind}:${name} but says otherwise`,
        );
        found++;
      }
    }
    const wanted = [...this.#jobs.values()].filter((job) => job.state === state).length;
    this.#check(found === wanted, `${found} in ${kind}, ${wanted} jobs in state ${state}`);
  }

  async #lanes(): Promise<void> {
    await this.#members('lane', 'w', (name, job) => name === `${job.gen}:${job.group}/${job.affinity}`);
    const gens = new Set(this.#rest('lane').map((name) => name.split(':')[0] ?? ''));
    for (const kind of ['head', 'heads'])
      for (const gen of this.#rest(kind)) this.#check(gens.has(gen), `${kind}:${gen} has no lanes`);
    for (const gen of gens) await this.#heads(gen);
    const waiting = [...this.#jobs.values()].filter((job) => job.state === 'w').length;
    const counters = await this.#redis.hgetBuffer(`${prefix}meta`, 'counters');
    const counted = counters?.readDoubleBE(24) ?? 0;
    this.#check(counted === waiting, `${waiting} wait, ${counted} counted`);
  }

  /** Heads of lanes and groups against the first of each lane, both ways. */
  async #heads(gen: string): Promise<void> {
    const noted = await this.#redis.hgetallBuffer(`${prefix}head:${gen}`);
    const best = new Map<string, { score: number; affinity: string; head: Buffer; waiting: number }>();
    for (const name of this.#rest('lane')) {
      const [of = '', lane = ''] = name.split(':');
      if (of !== gen) continue;
      const key = `${prefix}lane:${name}`;
      const [member = '', text = ''] = await this.#redis.zrange(key, '0', '0', 'WITHSCORES');
      const [group = '', affinity = ''] = lane.split('/');
      const [id = '', pool = ''] = member.split(' ');
      const score = Number(text);
      const head = laneText(score, pool, id);
      this.#check(noted[lane]?.equals(head) === true, `lane ${name} has another head than ${member} ${text}`);
      delete noted[lane];
      const known = best.get(group);
      const waiting = (known?.waiting ?? 0) + (await this.#redis.zcard(key));
      const isFirst = !known || score < known.score || (score === known.score && affinity < known.affinity);
      best.set(group, { ...(isFirst ? { score, affinity, head } : known), waiting });
    }
    const bounds = await this.#redis.zrange(`${prefix}heads:${gen}`, '0', '-1', 'WITHSCORES');
    this.#check(bounds.length === 2 * best.size, `generation ${gen} orders groups that are empty`);
    for (const [group, { score, affinity, head, waiting }] of best) {
      const text = groupText(head, waiting, affinity);
      this.#check(noted[group]?.equals(text) === true, `group ${group} has another head, count or lane`);
      delete noted[group];
      const bound = bounds[bounds.indexOf(group) + 1];
      this.#check(Number(bound) <= score, `group ${group} is ordered by ${bound}, after its head ${score}`);
    }
    this.#check(Object.keys(noted).length === 0, `heads of what is empty: ${Object.keys(noted)}`);
  }

  async #incarnations(): Promise<void> {
    const alive = await this.#redis.zrange(`${prefix}alive`, '0', '-1');
    const known = await this.#redis.smembers(`${prefix}incarnations`);
    this.#check(alive.sort().join() === known.sort().join(), `alive ${alive}, incarnations ${known}`);
    for (const [machine, record] of Object.entries(await this.#redis.hgetallBuffer(`${prefix}machines`)))
      await this.#record(machine, record);
    for (const key of this.#rest('held'))
      this.#check(alive.includes(key), `${key} holds jobs and is not alive`);
  }

  /** What a machine's record says of the end of its leases, where no TTL was given to all since. */
  async #record(machine: string, record: Buffer): Promise<void> {
    const standing = (await this.#redis.hget(`${prefix}meta`, 'standing')) ?? '';
    if (record.toString('latin1', 16, record.length - 1) !== (standing.split(' ')[5] ?? '0')) return;
    const score = await this.#redis.zscore(`${prefix}alive`, `${machine}/${record.readDoubleBE(0)}`);
    const noted = record.readDoubleBE(8);
    this.#check(Number(score ?? 0) === noted, `${machine} ends at ${score}, its record says ${noted}`);
  }

  async #idle(): Promise<void> {
    const idle = await this.#redis.hkeys(`${prefix}idle`);
    const found = new Set<string>();
    for (const kind of ['idlegroup', 'idlelane']) {
      for (const name of this.#rest(kind)) {
        for (const key of await this.#redis.zrange(`${prefix}${kind}:${name}`, '0', '-1')) {
          this.#check(idle.includes(key), `${key} is in ${kind}:${name} and not idle`);
          if (kind === 'idlegroup') found.add(key);
        }
      }
    }
    const counted = (await this.#redis.hgetBuffer(`${prefix}meta`, 'counters'))?.readDoubleBE(32) ?? 0;
    this.#check(counted === idle.length, `${idle.length} idle, ${counted} counted`);
    this.#check(found.size === idle.length, `${idle.length} idle, ${found.size} in the groups' sets`);
  }
}

/** What a job's text says of where it is. */
interface Job {
  state: string;
  gen: string;
  group: string;
  affinity: string;
  pool: string;
  hasBody: boolean;
  holder: string;
}

/** As lib-lanes.lua packs them. */
function laneText(score: number, pool: string, id: string): Buffer {
  const number = Buffer.alloc(8);
  number.writeDoubleBE(score);
  return Buffer.concat([number, Buffer.from(`${pool}\0${id}\0`)]);
}

function groupText(head: Buffer, waiting: number, affinity: string): Buffer {
  const number = Buffer.alloc(4);
  number.writeUInt32BE(waiting);
  const text = Buffer.concat([head, number, Buffer.from(`${affinity}\0`)]);
  return Buffer.concat([text, Buffer.alloc(Math.max(0, 65 - text.length))]);
}

const knownKinds = new Set([
  ...[
    'adoptions',
    'alive',
    'body',
    'delayed',
    'events',
    'finish',
    'head',
    'heads',
    'held',
    'idle',
    'idlegroup',
  ],
  ...['idlelane', 'ids', 'incarnations', 'job', 'lane', 'lanes', 'machines', 'meta', 'nonce', 'progress'],
  ...['tombends', 'tombstones'],
]);
