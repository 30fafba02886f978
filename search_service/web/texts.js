// The page's texts, in the language of the browser, and numbers as that language writes them.

const en = {
  skip: "Skip to the results",
  status: "Status",
  search: "Search",
  headline: "Find what looks like this",
  lead: "Show a photo, and see the products of the catalogue that look most like it.",
  choose: "Choose a photo",
  another: "Another photo",
  take: "Take a photo",
  dropHint: "or drop one anywhere on this page, or paste it",
  letGo: "Let go to search by this photo",
  start: "Or start from the catalogue",
  products: ({ count }) => (count === 1 ? "1 product" : `${number(count)} products`),
  yourPhoto: "Your photo",
  noPreview: "This browser can’t show the file; the service may still be able to read it.",
  cropLabel: "Part that is searched. Arrow keys move it, with Shift they resize it.",
  cropHint: "Draw a box to search only a part",
  wholePhoto: "Search the whole photo",
  looksLike: "Looks like",
  unsure: "Not sure what this is",
  unsureWhy: ({ count }) => `So the ${count} most probable categories were searched.`,
  unknown: "This shows none of the catalogue’s categories",
  unknownWhy: ({ category }) => `What is nearest to it is shown nevertheless, from “${category}”.`,
  chosen: "You chose",
  allChosen: ({ count }) => `The ${count} most probable categories`,
  likeItem: "More like this, from",
  confidence: "How probable each category is. Choose one to search it.",
  automatic: "Automatic",
  allProbable: "All probable",
  otherCategory: "Another category…",
  otherLabel: "Search another category",
  show: "Show",
  similar: ({ count }) => (count === 1 ? "1 similar product" : `${number(count)} similar products`),
  found: ({ count, where }) => `${count} similar products, from ${where}`,
  searching: "Searching…",
  nothing: "Nothing alike was found here",
  nothingWhy: "Try another category, or a box around the thing you are looking for.",
  score: "Similarity",
  moreLikeThis: "More like this",
  close: "Close",
  imageOf: ({ place, count }) => `Image ${place} of ${count}`,
  category: "Category",
  itemId: "Item",
  noImage: "no image",
  retry: "Try again",
  retryIn: ({ seconds }) => `Trying again in ${seconds}\u00a0s.`,
  retrying: "Trying again…",
  overloaded: "A lot of people are searching",
  overloadedWhy: "The service can’t take your search right now.",
  notReady: "No catalogue is being served yet",
  notReadyWhy: "This page waits for it.",
  unreachable: "The service can’t be reached",
  unreachableWhy: "Is it running, and is your connection up?",
  image_too_large: "This photo is too large",
  image_too_largeWhy: "Try a smaller one, or a part of it.",
  unsupported_image: "This file is no image that can be read",
  unsupported_imageWhy: "JPEG, PNG, WebP, GIF, TIFF, BMP and AVIF can.",
  broken_image: "This image is damaged",
  broken_imageWhy: "Save it again, or try another one.",
  unknown_item: "This product is not in the catalogue any more",
  unknown_itemWhy: "Search by a photo instead.",
  unknown_category: "There is no such category",
  unknown_categoryWhy: "Choose one of those beside.",
  unauthorized: "This service wants a key",
  unauthorizedWhy: "Without a valid one it does not answer.",
  failed: "Something went wrong",
  requestDetails: "What the service says",
  keyTitle: "This service wants a key",
  keyLead: "Ask whoever runs it. The key is kept until you close this tab.",
  keyLabel: "API key",
  keyUse: "Use this key",
  // The status page
  statusTitle: "Status",
  built: "Built",
  refused: "A newer snapshot was refused, and this one is served on",
  products_: "Products",
  images: "Images",
  skipped: ({ count }) => `${number(count)} left out`,
  accuracy: "Category right",
  accuracyWhy: ({ count }) => `of ${number(count)} held-out images`,
  recall: "Recall",
  recallWhy: "of the first ten, lowest category",
  load: "Load",
  searches: "Searches a second",
  answered: "Answered in (median)",
  answered95: "Answered in (95 %)",
  refusedLoad: "Turned away, overloaded",
  overAll: "since the start",
  nowOf: ({ seconds }) => `in the last ${seconds} s`,
  categories: "Categories",
  index: "Index",
  recall10: "Recall at 10",
  base: "Backbone",
  tuned: "tuned on this catalogue",
};

const pt = {
  skip: "Ir para os resultados",
  status: "Estado",
  search: "Pesquisa",
  headline: "Encontre o que é parecido",
  lead: "Mostre uma foto e veja os produtos do catálogo que mais se parecem com ela.",
  choose: "Escolher uma foto",
  another: "Outra foto",
  take: "Tirar uma foto",
  dropHint: "ou solte uma em qualquer lugar desta página, ou cole-a",
  letGo: "Solte para pesquisar por esta foto",
  start: "Ou comece pelo catálogo",
  products: ({ count }) => (count === 1 ? "1 produto" : `${number(count)} produtos`),
  yourPhoto: "A sua foto",
  noPreview: "Este navegador não consegue mostrar o arquivo; talvez o serviço consiga lê-lo.",
  cropLabel: "Parte pesquisada. As setas movem-na; com Shift, mudam o tamanho.",
  cropHint: "Desenhe uma caixa para pesquisar só uma parte",
  wholePhoto: "Pesquisar a foto inteira",
  looksLike: "Parece ser",
  unsure: "Não há certeza do que é",
  unsureWhy: ({ count }) => `Por isso foram pesquisadas as ${count} categorias mais prováveis.`,
  unknown: "Isto não mostra nenhuma das categorias do catálogo",
  unknownWhy: ({ category }) => `Mesmo assim, aqui está o que há de mais próximo, em “${category}”.`,
  chosen: "Você escolheu",
  allChosen: ({ count }) => `As ${count} categorias mais prováveis`,
  likeItem: "Mais como este, de",
  confidence: "Probabilidade de cada categoria. Escolha uma para pesquisar nela.",
  automatic: "Automático",
  allProbable: "Todas as prováveis",
  otherCategory: "Outra categoria…",
  otherLabel: "Pesquisar em outra categoria",
  show: "Mostrar",
  similar: ({ count }) => (count === 1 ? "1 produto parecido" : `${number(count)} produtos parecidos`),
  found: ({ count, where }) => `${count} produtos parecidos, de ${where}`,
  searching: "Pesquisando…",
  nothing: "Nada parecido foi encontrado aqui",
  nothingWhy: "Tente outra categoria, ou uma caixa em volta do que procura.",
  score: "Semelhança",
  moreLikeThis: "Mais como este",
  close: "Fechar",
  imageOf: ({ place, count }) => `Imagem ${place} de ${count}`,
  category: "Categoria",
  itemId: "Item",
  noImage: "sem imagem",
  retry: "Tentar de novo",
  retryIn: ({ seconds }) => `Nova tentativa em ${seconds}\u00a0s.`,
  retrying: "Tentando de novo…",
  overloaded: "Muitas pessoas estão pesquisando",
  overloadedWhy: "O serviço não pode atender a sua pesquisa agora.",
  notReady: "Ainda não há catálogo publicado",
  notReadyWhy: "Esta página espera por ele.",
  unreachable: "Não foi possível contatar o serviço",
  unreachableWhy: "Ele está no ar? E a sua conexão?",
  image_too_large: "Esta foto é grande demais",
  image_too_largeWhy: "Tente uma menor, ou uma parte dela.",
  unsupported_image: "Este arquivo não é uma imagem que se possa ler",
  unsupported_imageWhy: "JPEG, PNG, WebP, GIF, TIFF, BMP e AVIF podem.",
  broken_image: "Esta imagem está danificada",
  broken_imageWhy: "Salve-a de novo, ou tente outra.",
  unknown_item: "Este produto já não está no catálogo",
  unknown_itemWhy: "Pesquise por uma foto.",
  unknown_category: "Não existe essa categoria",
  unknown_categoryWhy: "Escolha uma das que estão ao lado.",
  unauthorized: "Este serviço pede uma chave",
  unauthorizedWhy: "Sem uma chave válida ele não responde.",
  failed: "Algo deu errado",
  requestDetails: "O que diz o serviço",
  keyTitle: "Este serviço pede uma chave",
  keyLead: "Peça-a a quem o opera. A chave é guardada até você fechar esta aba.",
  keyLabel: "Chave da API",
  keyUse: "Usar esta chave",
  statusTitle: "Estado",
  built: "Criada",
  refused: "Uma versão mais nova foi recusada; esta continua no ar",
  products_: "Produtos",
  images: "Imagens",
  skipped: ({ count }) => `${number(count)} deixados de fora`,
  accuracy: "Categoria certa",
  accuracyWhy: ({ count }) => `de ${number(count)} imagens reservadas`,
  recall: "Revocação",
  recallWhy: "dos dez primeiros, na pior categoria",
  load: "Carga",
  searches: "Pesquisas por segundo",
  answered: "Respondidas em (mediana)",
  answered95: "Respondidas em (95 %)",
  refusedLoad: "Recusadas por excesso",
  overAll: "desde o início",
  nowOf: ({ seconds }) => `nos últimos ${seconds} s`,
  categories: "Categorias",
  index: "Índice",
  recall10: "Revocação em 10",
  base: "Backbone",
  tuned: "ajustada a este catálogo",
};

export const languages = { en, pt };

/** The language that the address or else the browser asks for first. */
export const language = [new URLSearchParams(location.search).get("lang"), ...navigator.languages]
  .map((wanted) => (wanted ?? "").slice(0, 2).toLowerCase())
  .find((wanted) => wanted in languages) ?? "en";

/** A text, with values where it has any. */
export function text(name, values = {}) {
  const found = languages[language][name];
  return typeof found === "function" ? found(values) : found;
}

/** Whether there is such a text. */
export const hasText = (name) => name in languages[language];

/** Put the texts of the language into the page: its own are English. */
export function translate() {
  document.documentElement.lang = navigator.languages.find((wanted) => wanted.startsWith(language)) ?? language;
  for (const place of document.querySelectorAll("[data-text]")) place.textContent = text(place.dataset.text);
  for (const link of document.querySelectorAll("a[hreflang]")) link.addEventListener("click", () => keepAddress(link));
}

/** Let a link to the page in another language lead to what is looked for now. */
function keepAddress(link) {
  const given = new URLSearchParams(location.search);
  given.set("lang", link.hreflang);
  link.search = String(given);
}

/** A number as the language writes it. */
export const number = (value, digits = 0) =>
  value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });

/** A share, 0 to 1. */
export const percent = (share) => share.toLocaleString(language, { style: "percent", maximumFractionDigits: 1 });

/** A probability, 0 to 1, never rounded to certainty. */
export function probability(share) {
  if (share > 0.999) return `> ${percent(0.999)}`;
  if (share < 0.001) return `< ${percent(0.001)}`;
  return percent(share);
}

/** How long ago a moment was: "3 hours ago". @param {string} moment ISO 8601 */
export function ago(moment) {
  const seconds = (Date.now() - Date.parse(moment)) / 1000;
  const units = [["day", 86_400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const [unit, length] = units.find(([, one]) => seconds >= one) ?? units.at(-1);
  return new Intl.RelativeTimeFormat(language, { numeric: "auto" }).format(-Math.floor(seconds / length), unit);
}
