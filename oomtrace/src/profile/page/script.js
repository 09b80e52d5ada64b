// Without this the page is complete: tables can be sorted with it, and what is cut shows all of itself where one points at it.
'use strict';
for (const cut of document.querySelectorAll('.cut')) cut.title = cut.textContent;
const key = (row, column) => {
  const cell = row.cells[column];
  if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
  const text = cell.textContent;
  return text === '–' ? null : text;
};
const order = (a, b) =>
  typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b));
for (const table of document.querySelectorAll('table.sort')) {
  table.classList.add('sorts');
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    // No button in it: browsers do not print these where a head is repeated on the next page.
    head.tabIndex = 0;
    const sort = () => {
      const first = head.classList.contains('num') ? 'descending' : 'ascending';
      const other = first === 'ascending' ? 'descending' : 'ascending';
      const way = head.getAttribute('aria-sort') === first ? other : first;
      for (const one of heads) one.removeAttribute('aria-sort');
      head.setAttribute('aria-sort', way);
      const sign = way === 'ascending' ? 1 : -1;
      const rows = [...table.tBodies[0].rows].map((row) => [key(row, column), row]);
      // What is absent is last, whichever way.
      rows.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : sign * order(a, b)));
      table.tBodies[0].append(...rows.map(([, row]) => row));
    };
    head.addEventListener('click', sort);
    head.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' && event.key !== ' ') return;
      event.preventDefault();
      sort();
    });
  });
}
