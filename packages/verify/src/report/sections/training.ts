import type { Evidence, TrainingEpoch, TrainingEvidence } from '../../evidence.js';
import { learningCurves } from '../charts/learning-curves.js';
import { describeTraining, formatSeconds } from '../describe-training.js';
import { formatNumber, formatValue, NONE } from '../format.js';
import { type Content, type Html, html } from '../html.js';
import { type Column, details, section, table } from '../parts.js';

/** Tables of more epochs are folded. */
const EPOCHS_SHOWN = 12;

/** How variants that were trained learned. */
export function training({ training: trained = [] }: Pick<Evidence, 'training'>): Content {
  if (trained.length === 0) return null;
  const validated = trained.some((t) => t.score !== null);
  return section(
    'training',
    'Training',
    validated
      ? 'The weights of the epoch that scores best on the validation samples are kept. Those samples chose, so they do not judge.'
      : 'The weights of the last epoch are kept: there were no validation samples to choose by.',
    trained.map((t) => [
      html`<h3><bdi>${t.name}</bdi></h3><p class="told">${describeTraining(t)}</p>`,
      learningCurves(t),
      legend(t),
      epochs(t),
      t.notes.length > 0 && html`<ul class="told">${t.notes.map((note) => html`<li>${note}</li>`)}</ul>`,
    ]),
  );
}

function legend({ curve, steps, epochs: rows, score, loss }: TrainingEvidence): Html {
  const bucket =
    curve.length < steps ? `smallest and largest of each ${Math.ceil(steps / curve.length)} steps` : 'each step';
  const hasAccuracy = rows.some((e) => e.accuracy !== null) && (score === null || score.format === 'percent');
  const items: readonly (readonly [kind: string, text: string] | false)[] = [
    ['smooth', 'loss, smoothed'],
    ['raw', bucket],
    hasAccuracy && ['training', 'training samples'],
    score !== null && ['validation', `validation samples${score.name === loss ? ', loss' : ''}`],
    score !== null && ['kept', 'kept epoch'],
  ];
  return html`<p class="legend">${items.map((item) => item && html`<span><i class="${item[0]}"></i>${item[1]}</span>`)}</p>`;
}

/** What the pictures show, as numbers. */
function epochs({ name, epochs: rows, score, best }: TrainingEvidence): Html {
  const isKept = (e: Row): boolean => score !== null && e.epoch === best;
  const all: Row[] = [...(score && score.before !== null ? [{ epoch: 0, score: score.before }] : []), ...rows];
  const columns: Column<Row>[] = [
    {
      title: 'Epoch',
      kind: 'text',
      cell: (e) =>
        html`${e.epoch === 0 ? 'before' : e.epoch}${isKept(e) && html` <span class="chip recommended">kept</span>`}`,
      sort: (e) => e.epoch,
    },
    {
      title: 'Loss',
      cell: number((e) => e.loss),
      sort: (e) => e.loss ?? null,
      hint: 'Mean over the steps of the epoch',
    },
  ];
  if (rows.some((e) => e.accuracy !== null))
    columns.push({
      title: 'Training accuracy',
      cell: (e) => formatValue(e.accuracy ?? null, 'percent'),
      sort: (e) => e.accuracy ?? null,
      hint: 'Of the training samples, while the weights changed',
    });
  if (score)
    columns.push({
      title: `Validation ${score.name}`,
      cell: (e) => formatValue(e.score, score.format),
      sort: (e) => e.score,
    });
  columns.push(
    { title: 'Learning rate', cell: number((e) => e.learningRate), hint: 'Of the last step of the epoch' },
    {
      title: 'Time',
      cell: (e) => (e.seconds === undefined ? NONE : formatSeconds(e.seconds)),
      sort: (e) => e.seconds ?? null,
    },
  );
  const twin = table(`Epochs of ${name}`, all, columns, {
    rowClass: (e) => (isKept(e) ? 'recommended' : ''),
    className: 'summary epochs',
  });
  return rows.length > EPOCHS_SHOWN ? details(`All ${rows.length} epochs`, twin) : twin;
}

/** An epoch; of the model before training there is only the score. */
type Row = Pick<TrainingEpoch, 'epoch' | 'score'> & Partial<TrainingEpoch>;

const number =
  (of: (row: Row) => number | undefined): ((row: Row) => string) =>
  (row) => {
    const value = of(row);
    return value === undefined ? NONE : formatNumber(value);
  };
