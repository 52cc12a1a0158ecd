import type { Redis } from 'ioredis';

const prefix = '{emp:0}:';

/**
 * Every disagreement between the entries and the indexes: a job is in exactly the index of its state,
 * every index entry has its job, heads are the true heads, and no key is of an unknown kind.
 */
export async function indexProblems(redis: Redis): Promise<string[]> {
  const audit = new Audit(redis);
  await audit.run();
  return audit.problems;
}

class Audit {
  readonly problems: string[] = [];
  readonly #redis: Redis;
  /** Keys by their kind, the part before the first colon, with the rest. */
  readonly #keys = new Map<string, string[]>();
  readonly #jobs = new Map<string, Record<string, string>>();

  constructor(redis: Redis) {
    this.#redis = redis;
  }

  async run(): Promise<void> {
    for (const key of await this.#redis.keys('*')) {
      const [kind = '', ...rest] = key.slice(prefix.length).split(':');
      this.#keys.set(kind, [...(this.#keys.get(kind) ?? []), rest.join(':')]);
      if (!key.startsWith(prefix) || !knownKinds.has(kind)) this.problems.push(`unknown key ${key}`);
      if ((await this.#redis.ttl(key)) !== -1) this.problems.push(`${key} would expire`);
    }
    for (const id of this.#rest('job')) this.#jobs.set(id, await this.#redis.hgetall(`${prefix}job:${id}`));
    await this.#ids();
    await this.#lanes();
    await this.#members('delayed', 'd', (name, job) => job['ix'] === name);
    await this.#members('held', 'l', (name, job) => job['l']?.split(' ')[0] === name);
    await this.#waiting();
    await this.#incarnations();
    await this.#idle();
  }

  #rest(kind: string): string[] {
    return this.#keys.get(kind) ?? [];
  }

  #check(holds: boolean, problem: string): void {
    if (!holds) this.problems.push(problem);
  }

  async #ids(): Promise<void> {
    const ids = await this.#redis.zrange(`${prefix}ids`, '0', '-1');
    this.#check(ids.length === this.#jobs.size, `${ids.length} ids, ${this.#jobs.size} jobs`);
    for (const id of ids) this.#check(this.#jobs.has(id), `id ${id} has no job`);
    for (const id of this.#rest('body')) this.#check(this.#jobs.has(id), `body of ${id} has no job`);
    for (const id of await this.#redis.zrange(`${prefix}tombends`, '0', '-1'))
      this.#check(
        (await this.#redis.hexists(`${prefix}tombstones`, id)) === 1,
        `${id} has an end, no tombstone`,
      );
  }

  /** Members of keys of one kind against the jobs in that state, both ways. */
  async #members(
    kind: string,
    state: string,
    fits: (name: string, job: Record<string, string>) => boolean,
  ): Promise<void> {
    let found = 0;
    for (const name of this.#rest(kind)) {
      for (const member of await this.#redis.zrange(`${prefix}${kind}:${name}`, '0', '-1')) {
        const [id = '', pool] = member.split(' ');
        const job = this.#jobs.get(id);
        const poolNoted = kind === 'lane' ? job?.['p'] : undefined;
        this.#check(pool === poolNoted, `${id} is in ${kind}:${name} with pool ${pool}, has ${poolNoted}`);
        this.#check(
          job?.['st'] === state && fits(name, job),
          `${id} is in ${kind}:${name} but says otherwise`,
        );
        found++;
      }
    }
    const wanted = [...this.#jobs.values()].filter((job) => job['st'] === state).length;
    this.#check(found === wanted, `${found} in ${kind}, ${wanted} jobs in state ${state}`);
  }

  async #lanes(): Promise<void> {
    await this.#members('lane', 'w', (name, job) => name === `${job['ix']}:${job['g']}/${job['a']}`);
    const gens = new Set(this.#rest('lane').map((name) => name.split(':')[0] ?? ''));
    for (const kind of ['head', 'heads', 'lanehead'])
      for (const gen of this.#rest(kind)) this.#check(gens.has(gen), `${kind}:${gen} has no lanes`);
    for (const gen of gens) await this.#heads(gen);
  }

  async #heads(gen: string): Promise<void> {
    const laneHeads = await this.#redis.hgetall(`${prefix}lanehead:${gen}`);
    const best = new Map<string, { score: number; affinity: string; text: string }>();
    for (const name of this.#rest('lane')) {
      const [of = '', lane = ''] = name.split(':');
      if (of !== gen) continue;
      const [member = '', score = ''] = await this.#redis.zrange(
        `${prefix}lane:${name}`,
        '0',
        '0',
        'WITHSCORES',
      );
      const [group = '', affinity = ''] = lane.split('/');
      const pool = member.split(' ')[1] ?? '';
      const text = `${score.padStart(17)}${pool} ${affinity}`;
      this.#check(laneHeads[lane] === text, `lane ${name} has head ${text}, noted ${laneHeads[lane]}`);
      const known = best.get(group);
      const isFirst =
        !known || Number(score) < known.score || (Number(score) === known.score && affinity < known.affinity);
      if (isFirst) best.set(group, { score: Number(score), affinity, text });
      delete laneHeads[lane];
    }
    this.#check(
      Object.keys(laneHeads).length === 0,
      `heads of lanes that are empty: ${Object.keys(laneHeads)}`,
    );
    const heads = await this.#redis.hgetall(`${prefix}head:${gen}`);
    this.#check(Object.keys(heads).length === best.size, `generation ${gen} has heads of empty groups`);
    for (const [group, { score, text }] of best) {
      this.#check(heads[group] === text, `group ${group} has head ${text}, noted ${heads[group]}`);
      const noted = await this.#redis.zscore(`${prefix}heads:${gen}`, group);
      this.#check(Number(noted) === score, `group ${group} has score ${score}, noted ${noted}`);
    }
  }

  async #waiting(): Promise<void> {
    const counts = new Map<string, number>();
    for (const job of this.#jobs.values())
      if (job['st'] === 'w') counts.set(job['g'] ?? '', (counts.get(job['g'] ?? '') ?? 0) + 1);
    const noted = Object.entries(await this.#redis.hgetall(`${prefix}waiting`));
    this.#check(noted.length === counts.size, 'groups without waiting entries are counted');
    for (const [group, count] of noted)
      this.#check(Number(count) === counts.get(group), `wrong count of group ${group}`);
    const sum = [...counts.values()].reduce((total, count) => total + count, 0);
    const total = Number((await this.#redis.hget(`${prefix}meta`, 'waiting')) ?? 0);
    this.#check(total === sum, `${sum} wait, ${total} counted`);
  }

  async #incarnations(): Promise<void> {
    const alive = await this.#redis.zrange(`${prefix}alive`, '0', '-1');
    const known = await this.#redis.smembers(`${prefix}incarnations`);
    this.#check(alive.sort().join() === known.sort().join(), `alive ${alive}, incarnations ${known}`);
    for (const key of this.#rest('held'))
      this.#check(alive.includes(key), `${key} holds jobs and is not alive`);
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
    this.#check(found.size === idle.length, `${idle.length} idle, ${found.size} in the groups' sets`);
  }
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
  ...[
    'idlelane',
    'ids',
    'incarnations',
    'job',
    'lane',
    'lanehead',
    'lanes',
    'meta',
    'newest',
    'nonce',
    'progress',
  ],
  ...['tombends', 'tombstones', 'virtual', 'waiting'],
]);
