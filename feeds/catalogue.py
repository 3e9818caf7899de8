"""What a bakery sells, when, and how it is paid: the fixed part of generated receipts. Pure data and rounding.

Prices are shelf prices (taxes included) in cents. Taxes are the French ones: 5.5 % on food taken away, 10 % on what
is eaten at once, 20 % on confectionery.
"""

from dataclasses import dataclass

#: Category name → its code at the till.
CATEGORIES = {
    "Boisson": "A",
    "Menu": "B",
    "Sandwich Froid": "C",
    "Viennoiserie": "D",
    "Pain": "E",
    "Sandwich Chaud": "F",
    "Pizza": "G",
    "Patisserie": "H",
    "Confiserie": "I",
}

#: Hours (up to, exclusive) → how often a line of each category is sold then, in the order of `CATEGORIES`.
SALES_BY_HOUR = {
    6: (10, 1, 1, 34, 50, 1, 1, 2, 0),
    11: (17, 1, 4, 36, 34, 1, 1, 4, 2),
    14: (20, 15, 18, 4, 18, 9, 6, 8, 2),
    17: (14, 2, 4, 24, 26, 3, 3, 18, 6),
    24: (7, 1, 4, 5, 56, 3, 7, 13, 4),
}

#: Payment mechanism → how often it pays a whole receipt, or the rest of one.
PAYMENTS = {"CB": 58, "Especes": 27, "Ticket Restaurant": 11, "Carte Cadeau": 2, "Cheque": 2}


@dataclass(frozen=True, slots=True)
class Product:
    """One article.

    Attributes:
        category: a key of `CATEGORIES`.
        name: as printed on the receipt.
        price: shelf price of a piece or a kilogram, cents.
        tax: per mille of the net price.
        weight: how often it is sold, relative to others of its category.
        by_weight: sold by the kilogram, in steps of 50 g.
    """

    category: str
    name: str
    price: int
    tax: int
    weight: int = 10
    by_weight: bool = False

    @property
    def net_price(self) -> int:
        """Price without taxes, cents, half up."""
        return _half_up(self.price * 1000, 1000 + self.tax)

    def amounts(self, thousandths: int) -> tuple[int, int]:
        """Net and gross cents of a quantity in 1/1000 of a piece or kilogram; a negative one is a return."""
        net = _half_up(self.net_price * abs(thousandths), 1000)
        gross = _half_up(net * (1000 + self.tax), 1000)
        return (net, gross) if thousandths >= 0 else (-net, -gross)


def _half_up(numerator: int, denominator: int) -> int:
    """Divide non-negative integers, rounding half up."""
    return (2 * numerator + denominator) // (2 * denominator)


PRODUCTS = (
    Product("Boisson", "Café expresso", 160, 100, 30),
    Product("Boisson", "Café crème", 240, 100, 16),
    Product("Boisson", "Thé", 230, 100, 6),
    Product("Boisson", "Chocolat chaud", 290, 100, 8),
    Product("Boisson", "Eau minérale 50 cl", 150, 55, 20),
    Product("Boisson", "Jus d'orange pressé", 320, 100, 8),
    Product("Boisson", "Cola 33 cl", 220, 55, 14),
    Product("Boisson", "Limonade artisanale 33 cl", 280, 55, 6),
    Product("Menu", "Menu déjeuner", 990, 100, 30),
    Product("Menu", "Menu sandwich boisson dessert", 1150, 100, 22),
    Product("Menu", "Menu salade", 1090, 100, 10),
    Product("Menu", "Menu enfant", 690, 100, 6),
    Product("Menu", "Formule petit déjeuner", 520, 100, 12),
    Product("Sandwich Froid", "Sandwich jambon beurre", 450, 100, 30),
    Product("Sandwich Froid", "Sandwich poulet crudités", 540, 100, 22),
    Product("Sandwich Froid", "Sandwich thon mayonnaise", 520, 100, 16),
    Product("Sandwich Froid", "Wrap végétarien", 560, 100, 8),
    Product("Sandwich Froid", "Pan bagnat", 580, 100, 6),
    Product("Viennoiserie", "Croissant au beurre", 120, 55, 40),
    Product("Viennoiserie", "Pain au chocolat", 140, 55, 36),
    Product("Viennoiserie", "Pain aux raisins", 190, 55, 12),
    Product("Viennoiserie", "Chausson aux pommes", 195, 55, 10),
    Product("Viennoiserie", "Brioche au sucre", 180, 55, 8),
    Product("Viennoiserie", "Chouquettes", 1600, 55, 5, by_weight=True),
    Product("Pain", "Baguette tradition", 130, 55, 48),
    Product("Pain", "Baguette classique", 105, 55, 34),
    Product("Pain", "Pain de campagne 400 g", 260, 55, 12),
    Product("Pain", "Pain complet 400 g", 295, 55, 8),
    Product("Pain", "Pain aux céréales 400 g", 310, 55, 8),
    Product("Pain", "Pain de seigle à la coupe", 720, 55, 5, by_weight=True),
    Product("Pain", "Ficelle", 85, 55, 5),
    Product("Sandwich Chaud", "Croque-monsieur", 490, 100, 24),
    Product("Sandwich Chaud", "Panini trois fromages", 560, 100, 18),
    Product("Sandwich Chaud", "Panini poulet curry", 580, 100, 16),
    Product("Sandwich Chaud", "Burger maison", 790, 100, 8),
    Product("Sandwich Chaud", "Quiche lorraine chaude", 430, 100, 14),
    Product("Pizza", "Part de pizza reine", 390, 100, 22),
    Product("Pizza", "Part de pizza margherita", 350, 100, 20),
    Product("Pizza", "Pizza quatre fromages", 1190, 100, 6),
    Product("Pizza", "Fougasse aux olives", 360, 100, 10),
    Product("Patisserie", "Éclair au chocolat", 320, 55, 24),
    Product("Patisserie", "Tartelette au citron", 360, 55, 18),
    Product("Patisserie", "Flan pâtissier", 290, 55, 20),
    Product("Patisserie", "Paris-brest", 450, 55, 10),
    Product("Patisserie", "Millefeuille", 420, 55, 10),
    Product("Patisserie", "Tarte aux fraises 6 parts", 2450, 55, 4),
    Product("Patisserie", "Entremets trois chocolats 8 parts", 3290, 55, 2),
    Product("Confiserie", "Ballotin de chocolats 250 g", 1490, 200, 6),
    Product("Confiserie", "Macarons assortis", 7200, 55, 10, by_weight=True),
    Product("Confiserie", "Sucette artisanale", 180, 200, 16),
    Product("Confiserie", "Nougat de Montélimar", 4600, 200, 6, by_weight=True),
    Product("Confiserie", "Sachet de bonbons", 290, 200, 18),
)

#: Words that store names are made of.
STREETS = ("la Gare", "la Place", "l'Église", "la Mairie", "le Marché", "la Fontaine", "le Pont", "les Halles")
TOWNS = (
    "Paris", "Lyon", "Lille", "Nantes", "Rennes", "Bordeaux", "Toulouse", "Marseille", "Nice", "Dijon",
    "Strasbourg", "Rouen", "Tours", "Angers", "Reims", "Grenoble",
)  # fmt: skip
