def largest(row):
    return max(range(len(row)), key=lambda i: row[i])
