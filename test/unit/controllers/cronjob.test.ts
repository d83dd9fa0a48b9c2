import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { CronJob, CronJobSpec, Job } from '#kube/api/generated/batch-v1.ts';
import { cronjobs } from '#kube/api/generated/resources.ts';
import { controllerReference } from '#kube/api/owner-references.ts';
import { planCronJob } from '../../../control-plane-lite/controllers/cronjob/plan-cronjob.ts';
import { dueTimes, parseSchedule } from '../../../control-plane-lite/controllers/cronjob/schedule.ts';
import { job } from '../../support/objects.ts';

const at = (text: string) => Date.parse(`2026-01-01T${text}Z`);

function cron(spec: Partial<CronJobSpec> = {}, status: CronJob['status'] = {}): CronJob {
  return {
    apiVersion: 'batch/v1',
    kind: 'CronJob',
    metadata: { name: 'tick', namespace: 'default', uid: 'cron', creationTimestamp: '2026-01-01T00:00:30Z' },
    spec: { schedule: '*/10 * * * *', jobTemplate: { spec: { template: {} } }, ...spec },
    status,
  };
}

function run(name: string, end?: 'Complete' | 'Failed', startTime = '2026-01-01T00:00:00Z'): Job {
  const conditions = end === undefined ? [] : [{ type: end, status: 'True' }];
  const made = job(name, {}, { startTime, conditions });
  made.metadata.ownerReferences = [controllerReference(cronjobs, cron())];
  return made;
}

function plan(cronJob: CronJob, jobs: Job[], now: string) {
  return planCronJob(cronJob, jobs, parseSchedule(cronJob.spec.schedule, cronJob.spec.timeZone), at(now));
}

test('waits for the first time after its creation', () => {
  const early = plan(cron(), [], '00:09:00');
  assert.deepEqual([early.start, early.requeueAfterMs], [undefined, 60_100]);
});

test('starts a job named after its time, and says so', () => {
  const due = plan(cron(), [], '00:10:01');
  assert.equal(due.start?.draft.metadata.name, `tick-${at('00:10:00') / 60_000}`);
  assert.equal(
    due.start?.draft.metadata.annotations?.['batch.kubernetes.io/cronjob-scheduled-timestamp'],
    '2026-01-01T00:10:00Z',
  );
  assert.equal(due.start?.draft.metadata.ownerReferences?.[0]?.controller, true);
});

test('starts only the latest of several missed runs', () => {
  const late = plan(cron({}, { lastScheduleTime: '2026-01-01T00:10:00Z' }), [], '00:45:00');
  assert.equal(late.start?.scheduledMs, at('00:40:00'));
});

test('does not start the same run twice, even when its status was lost', () => {
  const started = run(`tick-${at('00:10:00') / 60_000}`, 'Complete');
  assert.equal(plan(cron(), [started], '00:10:30').start, undefined);
});

test('a run that is too late is left out', () => {
  const strict = cron({ startingDeadlineSeconds: 60 }, { lastScheduleTime: '2026-01-01T00:00:00Z' });
  assert.equal(plan(strict, [], '00:12:00').start, undefined);
  assert.equal(plan(strict, [], '00:10:59').start?.scheduledMs, at('00:10:00'));
});

test('forbids, replaces or allows runs side by side', () => {
  const running = run('other');
  const forbidden = plan(cron({ concurrencyPolicy: 'Forbid' }), [running], '00:10:01');
  assert.deepEqual([forbidden.start, forbidden.events[0]?.reason], [undefined, 'JobAlreadyActive']);
  const replacing = plan(cron({ concurrencyPolicy: 'Replace' }), [running], '00:10:01');
  assert.deepEqual([replacing.delete, replacing.start === undefined], [[running], false]);
  assert.deepEqual(plan(cron(), [running], '00:10:01').delete, []);
});

test('starts nothing while suspended', () => {
  assert.equal(plan(cron({ suspend: true }), [], '00:10:01').start, undefined);
});

test('keeps as many finished jobs as its limits say, the youngest', () => {
  const jobs = [1, 2, 3, 4].map((hour) => run(`done-${hour}`, 'Complete', `2025-12-01T0${hour}:00:00Z`));
  const failed = [1, 2].map((hour) => run(`bad-${hour}`, 'Failed', `2025-12-01T0${hour}:00:00Z`));
  const names = plan(cron({ suspend: true }), [...jobs, ...failed], '00:01:00').delete.map(
    ({ metadata }) => metadata.name,
  );
  assert.deepEqual(names, ['done-1', 'bad-1']);
});

test('warns when very many runs were missed', () => {
  const stale = cron({ schedule: '* * * * *' }, { lastScheduleTime: '2025-12-31T00:00:00Z' });
  const warned = plan(stale, [], '00:00:00');
  assert.equal(warned.events[0]?.reason, 'TooManyMissedTimes');
  assert.equal(warned.start?.scheduledMs, at('00:00:00'));
});

test('schedules follow their time zone', () => {
  const midnight = parseSchedule('0 0 * * *', 'America/New_York');
  assert.equal(midnight.next(at('00:00:00')), Date.parse('2026-01-01T05:00:00Z'));
  assert.equal(parseSchedule('@every 90m', undefined).next(0), 5_400_000);
  assert.equal(parseSchedule('@daily', undefined).next(at('12:00:00')), Date.parse('2026-01-02T00:00:00Z'));
  assert.throws(() => parseSchedule('61 * * * *', undefined));
});

test('years of missed runs are not counted one by one', () => {
  const { count, lastMs } = dueTimes(
    parseSchedule('* * * * *', undefined),
    Date.parse('2020-01-01T00:00:00Z'),
    at('00:00:00'),
  );
  assert.ok(count > 100);
  assert.equal(lastMs, at('00:00:00'));
});
