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
  const columns: Column<TrainingEpoch>[] = [
    {
      title: 'Epoch',
      kind: 'text',
      cell: (e) =>
        html`${e.epoch}${score && e.epoch === best ? html` <span class="chip recommended">kept</span>` : ''}`,
      sort: (e) => e.epoch,
    },
    { title: 'Loss', cell: (e) => formatNumber(e.loss), sort: (e) => e.loss, hint: 'Mean over the steps of the epoch' },
  ];
  if (rows.some((e) => e.accuracy !== null))
    columns.push({
      title: 'Training accuracy',
      cell: (e) => formatValue(e.accuracy, 'percent'),
      sort: (e) => e.accuracy,
      hint: 'Of the training samples, while the weights changed',
    });
  if (score)
    columns.push({
      title: `Validation ${score.name}`,
      cell: (e) => (e.score === null ? NONE : formatValue(e.score, score.format)),
      sort: (e) => e.score,
    });
  columns.push(
    { title: 'Learning rate', cell: (e) => formatNumber(e.learningRate), hint: 'Of the last step of the epoch' },
    { title: 'Time', cell: (e) => formatSeconds(e.seconds), sort: (e) => e.seconds },
  );
  const twin = table(`Epochs of ${name}`, rows, columns, {
    rowClass: (e) => (score && e.epoch === best ? 'recommended' : ''),
    className: 'summary epochs',
  });
  return rows.length > EPOCHS_SHOWN ? details(`All ${rows.length} epochs`, twin) : twin;
}
